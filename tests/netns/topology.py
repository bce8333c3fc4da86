# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Namespaces, programs and peers of the real-traffic tests.

Everything has the prefix of this run, is made here and is removed here; traffic stays between the
namespaces. A client and three backends stand around the balancer, each behind a veth pair:

    client eth0 --- eth1 lb eth2 --- net (bridge) --- eth0 b1, b2, b3

With one arm, all of them stand on the bridge, and the backends have no route to the client:

    client eth0, lb eth1, b1, b2, b3 eth0 --- net (bridge)
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(TOP, "build"))
ENGINE = os.environ.get("SLUICE_ENGINE", "dpdk")

SERVICE4 = "203.0.113.10"
SERVICE6 = "2001:db8:100::10"
CLIENT4 = "10.90.1.2"
CLIENT6 = "2001:db8:1::2"
OWN4 = "10.90.1.1"
# Not a secret here: with fixed source ports each run makes the same choices.
HASH_KEY = "00112233445566778899aabbccddeeff"


# What a driver holds of the pool when nothing moves: (always, at most more), per queue of a port.
# AF_XDP keeps its fill ring full, and takes completed buffers back when it next sends: at most the
# last burst, which is TX_BUFFER_SIZE. AF_PACKET copies and holds nothing. Virtio keeps its receive
# ring full, and takes completed buffers back only when its transmit ring runs short.
DRIVER_BUFFERS = {"xdp native": (0, 0), "xdp generic": (0, 0),
                  "net_af_xdp": (2048, 64), "net_af_packet": (0, 0), "net_virtio": (256, 256)}


# One arm: what stands in for the client.
SOURCES4 = ["10.90.2.201", "10.90.2.202"]
SOURCES6 = ["2001:db8:2::201", "2001:db8:2::202"]


def backend4(i):
    return f"10.90.2.1{i}"


def service4(port, weights=(1, 1, 1), **options):
    """A service of the client's address with a backend for each of these weights, for write_config()."""
    return f"{SERVICE4}:{port}/tcp", [(f"{backend4(i + 1)}:8080", w) for i, w in enumerate(weights)], {}, options


def backend6(i):
    return f"2001:db8:2::1{i}"


def wait_until(what, seconds, condition):
    """Polls `condition` until it gives something true; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what() if callable(what) else what}")
        time.sleep(0.02)


def run(*words, check=True, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
    return done


@contextlib.contextmanager
def hugepages_alone():
    """No other test that runs on this machine sees or changes how many hugepages there are meanwhile."""
    with open("/proc/sys/vm/nr_hugepages") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Topology:
    """The namespaces of one module's tests. `kind` says how the balancer's ports are named."""

    numbers = itertools.count(1)  # a module may have more than one

    def __init__(self, kind="interface", workers=1, one_arm=False, max_workers=None):
        # The XDP engine attaches to kernel interfaces, and judges every frame on them.
        self.kind = "interface" if ENGINE == "xdp" else kind
        self.workers = workers
        self.max_workers = max_workers  # None: what sluice-dpdk takes
        self.one_arm = one_arm
        self.engine = ENGINE  # as the configuration has it
        self.flows = 65536
        self.idle_sleep_us = 50 if ENGINE == "dpdk" and isinstance(workers, int) else 0
        self.flow_log = None  # or a file
        self.more_config = []  # lines of the file beside those written here
        self.ports = ["eth1"] if one_arm else ["eth1", "eth2"]
        self.prefix = f"sl{os.getpid()}-{next(Topology.numbers)}"
        self.dir = tempfile.mkdtemp(prefix="sluice-")
        os.chmod(self.dir, 0o755)
        self.run_dir = os.path.join(self.dir, "run")
        self.state_dir = os.path.join(self.dir, "state")
        self.config = os.path.join(self.dir, "sluice.yaml")
        self.processes = {}
        self.names = ["client", "lb", "net", "b1", "b2", "b3"]
        os.mkdir(self.run_dir, 0o755)
        os.mkdir(self.state_dir, 0o700)
        # What is mounted within `ip netns exec` is gone with the program: the pins are to stay.
        os.mkdir(os.path.join(self.run_dir, "bpf"), 0o700)
        run("mount", "-t", "bpf", "bpf", os.path.join(self.run_dir, "bpf"))
        shutil.chown(self.state_dir, "nobody", "nogroup")

    # -- namespaces

    def ns(self, name):
        return f"{self.prefix}-{name}"

    def ip(self, name, *words):
        return run("ip", "-n", self.ns(name), *words)

    def ip_batch(self, name, lines):
        """As many calls of ip(), of one process."""
        return run("ip", "-n", self.ns(name), "-batch", "-", input="\n".join(lines))

    def in_ns(self, name, *words):
        return ["ip", "netns", "exec", self.ns(name), *words]

    def add_clients(self, addresses):
        """More addresses of the client."""
        for address in addresses:
            length, *more = ["128", "nodad"] if ":" in address else ["32"]
            self.run_in("client", "ip", "address", "add", f"{address}/{length}", "dev", "eth0", *more)

    def run_in(self, name, *words, check=True, **more):
        return run(*self.in_ns(name, *words), check=check, **more)

    def quiet(self, name, device):
        self.run_in(name, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off",
                    check=False)

    def spread(self, name, device):
        """Has the packets of a flow come in on one CPU, as a network card does. Two CPUs that have
        packets of one connection at once may make Linux (seen on 6.18) answer the second with a reset:
        its lookup finds no socket while that of the handshake is replaced."""
        mask = f"{(1 << os.cpu_count()) - 1:x}"
        self.run_in(name, "sh", "-c", f"for file in /sys/class/net/{device}/queues/rx-*/rps_cpus; "
                    f"do echo {mask} >$file; done")

    def add_addresses(self, name, device, *addresses, gateways=()):
        """And the ways to everywhere else."""
        nodad = {address: " nodad" if ":" in address else "" for address in addresses}
        self.ip_batch(name, [*(f"addr add {address} dev {device}{nodad[address]}" for address in addresses),
                             f"link set {device} up", *(f"route add default via {gateway}" for gateway in gateways)])

    def make(self):
        for name in self.names:
            run("ip", "netns", "add", self.ns(name))
            self.ip(name, "link", "set", "lo", "up")
        # Ports below are the tests' own to bind.
        self.run_in("client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=32768 60999")
        self.ip("net", "link", "add", "br0", "type", "bridge")
        self.ip("net", "link", "set", "br0", "up")
        self.ip("lb", "link", "add", self.ports[-1], "type", "veth", "peer", "name", "lb",
                "netns", self.ns("net"))
        self.ip("net", "link", "set", "lb", "master", "br0", "up")
        if self.one_arm:
            self.ip("client", "link", "add", "eth0", "type", "veth", "peer", "name", "client",
                    "netns", self.ns("net"))
            self.ip("net", "link", "set", "client", "master", "br0", "up")
            self.quiet("net", "client")
        else:
            self.ip("client", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1",
                    "netns", self.ns("lb"))
        self.spread("client", "eth0")
        self.add_addresses("client", "eth0", f"{CLIENT4}/24", f"{CLIENT6}/64", gateways=(OWN4, "2001:db8:1::1"))
        for i in (1, 2, 3):
            self.ip(f"b{i}", "link", "add", "eth0", "type", "veth", "peer", "name", f"b{i}",
                    "netns", self.ns("net"))
            self.ip("net", "link", "set", f"b{i}", "master", "br0", "up")
            self.spread(f"b{i}", "eth0")
            self.add_addresses(f"b{i}", "eth0", f"{backend4(i)}/24", f"{backend6(i)}/64",
                               gateways=() if self.one_arm else ("10.90.2.1", "2001:db8:2::1"))
            self.quiet(f"b{i}", "eth0")
            self.quiet("net", f"b{i}")
        for name, device in (("client", "eth0"), ("net", "lb"), *(("lb", port) for port in self.ports)):
            self.quiet(name, device)
        if ENGINE == "xdp":
            # A veth takes frames that a program sends into it only if its peer polls.
            for name, device in (("net", "lb"),) if self.one_arm else (("client", "eth0"), ("net", "lb")):
                self.run_in(name, "ethtool", "-K", device, "gro", "on")
        self.make_ports()
        return self

    def make_ports(self):
        """Gives eth1 and eth2 of the balancer to what balances."""
        self.add_addresses("lb", "lo", f"{SERVICE4}/32", f"{SERVICE6}/128")
        if self.kind == "interface":
            self.address_ports(*self.ports)
        else:
            # The dataplane has these to itself: the kernel's interfaces are the TAPs.
            for device in self.ports:
                self.run_in("lb", "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
                self.ip("lb", "link", "set", device, "arp", "off", "promisc", "on", "up")
                # Packet sockets get a copy: the kernel must be kept from the original.
                self.run_in("lb", "nft", f"add table netdev {device}")
                self.run_in("lb", "nft", f"add chain netdev {device} in "
                            f'{{ type filter hook ingress device "{device}" priority 0; policy drop; }}')

    def address_ports(self, client_side, backend_side=None):
        self.add_addresses("lb", client_side, f"{OWN4}/24", "2001:db8:1::1/64")
        self.add_addresses("lb", backend_side or client_side, "10.90.2.1/24", "2001:db8:2::1/64",
                           *(f"{source}/32" for source in SOURCES4), *(f"{source}/128" for source in SOURCES6))

    # -- programs

    def start(self, name, namespace, *words, **more):
        log = open(os.path.join(self.dir, f"{name}.log"), "a")
        process = subprocess.Popen(self.in_ns(namespace, *words), stdout=log, stderr=log, **more)
        log.close()
        self.processes[name] = process
        return process

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name):
        with open(os.path.join(self.dir, f"{name}.log")) as file:
            return file.read()

    def send_frames(self, frames):
        """Sends raw frames from the client's own interface."""
        script = ("import socket,sys\n"
                  "s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('eth0',0))\n"
                  "for line in sys.stdin: s.send(bytes.fromhex(line))\n")
        self.run_in("client", sys.executable, "-c", script, input="".join(bytes(f).hex() + "\n" for f in frames))

    def send_until_counted(self, frame, verdict, count):
        """Sends a frame until it got `verdict` `count` times: a driver's ring may lose some of a burst."""
        start = self.counters()["verdicts"][verdict]
        for _ in range(100):
            self.send_frames([frame] * 500)
            if self.counters()["verdicts"][verdict] - start >= count:
                return
        raise AssertionError(f"{verdict}: {self.counters()['verdicts'][verdict] - start} of {count}")

    def port_lines(self, i, device):
        if self.kind == "interface":
            return [f"    - interface: {device}"]
        return [f'    - vdev: "net_af_packet{i},iface={device},qpairs={self.max_workers or self.workers}"',
                f"      kernel_interface: port{i + 1}"]

    def write_config(self, services):
        """`services`: {name: (address, [(backend, weight), ...])}, with a dict of timeouts and one of
        other keys, or without."""
        self.services = services
        lines = [f"run_dir: {self.run_dir}", f"state_dir: {self.state_dir}", "user: nobody",
                 "group: nogroup", "dataplane:", f"  engine: {self.engine}", f"  flows: {self.flows}", f"  workers: {self.workers}",
                 f"  hash_key: \"{HASH_KEY}\""]
        lines += [f"  max_workers: {max(self.max_workers, self.workers)}"] if self.max_workers else []
        lines += [f"  flow_log: {self.flow_log}"] if self.flow_log else []
        lines += [f"  idle_sleep_us: {self.idle_sleep_us}"] if self.idle_sleep_us else []
        lines.append("  ports:")
        for i, device in enumerate(self.ports):
            lines += self.port_lines(i, device)
        lines += self.more_config
        lines.append("services:" if services else "services: []")
        for name, (address, backends, *more) in services.items():
            timeouts, options = (*more, {}, {})[:2]
            lines += [f"  - name: {name}", f'    address: "{address}"']
            lines += [f"    timeouts: {json.dumps(timeouts)}"] if timeouts else []
            lines += [f"    {key}: {json.dumps(value)}" for key, value in options.items()]
            lines.append("    backends:")
            for backend, weight in backends:
                lines.append(f'      - {{address: "{backend}", weight: {weight}}}')
        with open(self.config, "w") as file:
            file.write("\n".join(lines) + "\n")

    def start_dataplane(self):
        # Workers that poll would have half of the time of whom they serve, and of tests beside these: here they
        # sleep while they are idle, but for test_idle_sleep.py. A list of cores is a benchmark's, which has the
        # machine to itself.
        is_shared = ENGINE == "dpdk" and isinstance(self.workers, int)
        courtesy = ["nice", "-n", "5"] if is_shared else []
        self.start("dataplane", "lb", *courtesy, os.path.join(BUILD, f"sluice-{ENGINE}"), "-c", self.config)

    def hang_up(self):
        self.processes["dataplane"].send_signal(signal.SIGHUP)

    def change_workers(self, number, words=None):
        """Has the running dataplane take another number of workers, or refuse it in these words."""
        former, length = self.workers, len(self.log("dataplane"))
        self.workers = number
        self.write_config(self.services)
        self.hang_up()
        wait_until("the configuration to be taken", 10, lambda: "reload: dataplane.workers" in self.log("dataplane")[length:])
        said = self.log("dataplane")[length:]
        assert (words or f"reload: dataplane.workers is {number}") in said, said
        if words:
            self.workers = former

    def start_daemon(self):
        return self.start("sluiced", "lb", os.path.join(BUILD, "sluiced"), "-c", self.config)

    def start_sluice(self):
        self.bring_dataplane_up()
        self.start_daemon()
        self.wait_in_step()

    def bring_dataplane_up(self):
        """With addresses where its ports are, which are new with each start if they are TAPs."""
        self.start_dataplane()
        if self.kind != "interface":
            taps = [f"port{i + 1}" for i in range(len(self.ports))]
            wait_until("the TAPs", 20, lambda: taps[-1] in self.ip("lb", "-br", "link").stdout)
            self.address_ports(*taps)

    def start_nginx(self, root):
        for i in (1, 2, 3):
            self.start_one_nginx(i, root)
        for i in (1, 2, 3):
            wait_until(f"nginx {i}", 10, lambda i=i: "backend" in self.run_in(
                f"b{i}", "curl", "-s", "http://127.0.0.1:8080/name", check=False).stdout)

    def start_one_nginx(self, i, root):
        home = os.path.join(self.dir, f"nginx{i}")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "nginx.conf"), "w") as file:
            file.write(f"""
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{
    listen 0.0.0.0:8080; listen [::]:8080; root {root};
    location = /name {{ return 200 "backend{i}\\n"; }}
    location = /health {{ if (-f {home}/ill) {{ return 500; }} return 200 "well\\n"; }}
    location = /who {{ return 200 "$remote_addr\\n"; }}
  }}
  server {{
    listen 0.0.0.0:8081 proxy_protocol; listen [::]:8081 proxy_protocol; root {root};
    location = /told {{ return 200 "$proxy_protocol_addr $proxy_protocol_port\\n"; }}
  }}
}}
""")
        self.start(f"nginx{i}", f"b{i}", "nginx", "-c", os.path.join(home, "nginx.conf"))

    def start_echo(self):
        for i in (1, 2, 3):
            self.start(f"echo{i}", f"b{i}", sys.executable,
                       os.path.join(TOP, "tests/netns/udp_echo.py"), "5353", str(i))

    # -- the command line

    def sluice(self, *words, check=True):
        return run(os.path.join(BUILD, "sluice"), "-s", os.path.join(self.run_dir, "control.sock"),
                   *words, check=check)

    def json(self, *words):
        return json.loads(self.sluice("-j", *words).stdout)

    def status(self):
        done = self.sluice("-j", "status", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def wait_in_step(self):
        wait_until("sluiced and the dataplane to be in step", 30,
                   lambda: self.status().get("in_step"))
        wait_until("the backends' link addresses", 15, lambda: all(
            backend["neighbour"] for backend in self.json("backend", "list")["backends"]))

    def counters(self):
        return self.json("counters")

    # -- invariants

    def check_invariants(self):
        """Every packet got exactly one verdict, and no buffer is lost."""
        def settled():
            counters = self.counters()
            received = counters["events"]["rx"]
            return received == sum(counters["verdicts"].values()) and (received, counters)

        received, counters = wait_until("received = sum of verdicts", 10, settled)
        assert counters["verdicts"]["none"] == 0
        self.check_buffers()
        return received

    def check_buffers(self):
        """Every buffer is back in the pool but for those that the drivers hold."""
        seen = {}

        def settled():
            ports = self.status()["ports"]
            always, more = ((self.max_workers or self.workers) * sum(DRIVER_BUFFERS[port["driver"]][i] for port in ports) for i in (0, 1))
            seen.update(used={port["buffers_in_use"] for port in ports}, always=always, more=more)
            return all(always <= n <= always + more for n in seen["used"])
        wait_until(lambda: "buffers in use {used} to be {always} and at most {more} more".format(**seen), 5, settled)

    def abandon(self):
        """Removes what did not come up, and says what its programs said."""
        for name in ("dataplane", "sluiced"):
            if name in self.processes:
                print(f"--- {name}\n{self.log(name)}")
        self.remove()

    def remove(self):
        for name in list(self.processes):
            self.stop(name)
        run("umount", os.path.join(self.run_dir, "bpf"), check=False)
        for name in self.names:
            run("ip", "netns", "del", self.ns(name), check=False)
        if not os.environ.get("SLUICE_KEEP_LOGS"):
            shutil.rmtree(self.dir, ignore_errors=True)


@contextlib.contextmanager
def topology(*arguments, root=None, **options):
    """A Topology, with nginx if there is a folder for it, until the end of the block. If the block is not passed, what
    its programs said is shown; else the invariants have to hold."""
    net = Topology(*arguments, **options)
    try:
        net.make()
        if root is not None:
            net.start_nginx(root)
        yield net
    except BaseException:
        net.abandon()
        raise
    try:
        net.check_invariants()
    finally:
        net.remove()


def backends(net, service):
    """What is listed of a service's backends, by their number."""
    return {int(b["address"].split(":")[0].split(".")[-1]) - int(backend4(0).split(".")[-1]): b
            for b in net.json("backend", "list", service)["backends"]}


def answers(net, port, count, *more):
    """How many of `count` new connections each backend's nginx answered, by its number; none may fail."""
    done = net.run_in("client", sys.executable, os.path.join(TOP, "tests/netns/http_client.py"), SERVICE4, str(port), str(count), *more)
    result = json.loads(done.stdout)
    assert result["failed"] == 0, result
    return {int(name.removeprefix("backend")): n for name, n in result["answers"].items()}
