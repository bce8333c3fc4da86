# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The balancer of tests/netns, with NICs: Sluice runs in the machine that run-on-6.1 emulates, and the
clients and backends stay in their namespaces.

    client eth0 --- eth1 br1 nic1 === 10.0 machine 11.0 === nic2 br2 eth2 --- net --- b1, b2, b3

nic1 and nic2 are tap devices of the balancer's namespace and the wires of the machine's two NICs.
"""
import itertools
import os
import select
import shlex
import subprocess
import time

import topology

RUN = os.path.join(topology.TOP, "tests", "kernel", "run-on-6.1")
PORTABLE = os.path.join(topology.BUILD, "portable")
NICS = ["0000:00:10.0", "0000:00:11.0"]  # as run-on-6.1 numbers them
DRIVERS = ["bus_pci", "bus_vdev", "mempool_ring", "net_virtio"]
FILES = ["/etc/passwd", "/etc/group", "/lib/x86_64-linux-gnu/libgcc_s.so.1"]
QUEUES = 4  # of each NIC
PROCESSORS = 5  # four workers at most, and one that does not poll
MEGABYTES = 1536
HUGEPAGES = 200  # of 2 MB
LIFE_SECONDS = 300


class Machine:
    """A shell in the machine, reached by its serial port: a command at a time."""

    # What is sent before the port is open would be lost. And a shell on a terminal is to stay quiet.
    SHELL = ["/bin/sh", "-c", "echo ready; exec /bin/sh +i"]
    BOOT_SECONDS = 60

    def __init__(self, words, log):
        self.log = log
        self.unread = b""
        self.numbers = itertools.count(1)
        with open(log, "w") as file:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file)
        self.read(time.monotonic() + self.BOOT_SECONDS, self.line)

    @staticmethod
    def line(data):
        return data[:data.index(b"\n") + 1] if b"\n" in data else None

    def failed(self, what):
        with open(self.log) as file:
            raise AssertionError(f"{what}\n{file.read()}")

    def read(self, end, enough):
        """What `enough` takes of the bytes that were read, as soon as it takes any."""
        while True:
            taken = enough(self.unread)
            if taken is not None:
                self.unread = self.unread[len(taken):]
                return taken
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.failed(f"no answer from the machine, but {self.unread!r}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                self.failed(f"the machine has ended, after {self.unread!r}")
            self.unread += data

    def run(self, command, check=True, seconds=60):
        """Runs `command` in the shell; its output stays whole, whatever it is."""
        mark = f"@{next(self.numbers)}"
        line = (f"( {command}\n) </dev/null >/tmp/out 2>/tmp/err; echo {mark} $? $(stat -c %s /tmp/out /tmp/err); "
                "cat /tmp/out /tmp/err\n")
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        end = time.monotonic() + seconds
        head = self.read(end, self.line)
        words = head.decode().split()
        assert words[0] == mark and len(words) == 4, head
        status, n_out, n_err = map(int, words[1:])
        text = self.read(end, lambda data: data[:n_out + n_err] if len(data) >= n_out + n_err else None)
        done = subprocess.CompletedProcess(command, status, text[:n_out].decode(), text[n_out:].decode())
        if check and status != 0:
            raise AssertionError(f"in the machine: {command}: {status}: {done.stdout}{done.stderr}")
        return done

    def write(self, path, text):
        self.run(f"mkdir -p {shlex.quote(os.path.dirname(path))}; printf %s {shlex.quote(text)} >{shlex.quote(path)}")

    def end(self):
        try:
            self.process.stdin.write(b"exit 0\n")
            self.process.stdin.close()
            self.process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.terminate()
            self.process.wait()
        self.process.stdout.close()


class GuestTopology(topology.Topology):
    def __init__(self):
        super().__init__("pci", max_workers=QUEUES)
        self.machine = None
        self.pids = {}
        self.checks_all = False  # whether every packet's queue is compared, or the first ones

    def make_ports(self):
        for i in (1, 2):
            bridge, nic = f"br{i}", f"nic{i}"
            self.run_in("lb", "ip", "tuntap", "add", "dev", nic, "mode", "tap", "multi_queue")
            self.ip("lb", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
            for device in (bridge, nic, f"eth{i}"):
                # A wire has no address, and says nothing.
                self.run_in("lb", "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
            for device in (nic, f"eth{i}"):
                self.ip("lb", "link", "set", device, "master", bridge, "up")
            self.ip("lb", "link", "set", bridge, "up")

    def port_lines(self, i, device):
        return [f'    - pci: "{NICS[i]}"', f"      kernel_interface: port{i + 1}"]

    # -- the machine

    def start_machine(self):
        words = [RUN, "-i", "-t", str(LIFE_SECONDS), "-a", str(PROCESSORS), "-m", str(MEGABYTES), "-k", "tun", "-b", "ip"]
        for i in (1, 2):
            words += ["-n", f"nic{i}"]
        for driver in DRIVERS:
            words += ["-d", driver]
        for file in FILES:
            words += ["-f", file]
        for program in (os.path.join(PORTABLE, "sluice-dpdk"), os.path.join(topology.BUILD, "sluiced"),
                        os.path.join(topology.BUILD, "sluice")):
            words += ["-b", program]
        self.machine = Machine(self.in_ns("lb", *words, *Machine.SHELL), os.path.join(self.dir, "machine.log"))
        self.machine.run(f"echo {HUGEPAGES} >/proc/sys/vm/nr_hugepages; mkdir -p {self.run_dir} {self.state_dir}; "
                         f"chown nobody:nogroup {self.state_dir}; chmod 755 {self.dir}; ip addr add {topology.SERVICE4}/32 dev lo; "
                         f"ip addr add {topology.SERVICE6}/128 dev lo nodad")

    def start_program(self, name, path, *more):
        words = shlex.join([*more, path, "-c", self.config])
        self.pids[name] = int(self.machine.run(f"{words} >{self.dir}/{name}.log 2>&1 & echo $!").stdout)

    def start_dataplane(self):
        more = ["env", "SLUICE_CHECK_STEERING=all"] if self.checks_all else []
        self.start_program("dataplane", os.path.join(PORTABLE, "sluice-dpdk"), *more)

    def start_daemon(self):
        self.start_program("sluiced", os.path.join(topology.BUILD, "sluiced"))

    def give_config(self):
        with open(self.config) as file:
            self.machine.write(self.config, file.read())

    def hang_up(self):
        self.give_config()
        self.machine.run(f"kill -HUP {self.pids['dataplane']}")

    def start_sluice(self):
        self.give_config()
        self.start_dataplane()
        topology.wait_until("the TAPs", 30, lambda: self.machine.run("ip link show dev port2", check=False).returncode == 0)
        for port, *addresses in (("port1", f"{topology.OWN4}/24", "2001:db8:1::1/64"),
                                 ("port2", "10.90.2.1/24", "2001:db8:2::1/64",
                                  *(f"{source}/32" for source in topology.SOURCES4),
                                  *(f"{source}/128" for source in topology.SOURCES6))):
            for address in addresses:
                nodad = "nodad" if ":" in address else ""
                self.machine.run(f"ip addr add {address} dev {port} {nodad}")
        self.start_daemon()
        self.wait_in_step()

    def stop_sluice(self):
        for pid in self.pids.values():
            self.machine.run(f"kill {pid}; for i in $(seq 100); do [ -d /proc/{pid} ] || exit 0; sleep 0.1; done; exit 1")
        self.pids = {}

    def sluice(self, *words, check=True):
        socket = os.path.join(self.run_dir, "control.sock")
        return self.machine.run(shlex.join([os.path.join(topology.BUILD, "sluice"), "-s", socket, *words]), check=check)

    def log(self, name):
        return self.machine.run(f"cat {self.dir}/{name}.log", check=False).stdout

    def remove(self):
        if self.machine is not None:
            self.machine.end()
        super().remove()
