#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""scrape_bench.py [ROUNDS [SECONDS]]: what those who read /metrics cost the packets of sluice-dpdk.

A worker forwards, as fast as it can, datagrams of 4,096 flows to 10 services of 100 backends, from a port that plays them
from memory for ever (bench_play.c); it has the last core, everything else the first. In turn, ROUNDS times (40) for SECONDS
(0.5):

  nobody     nobody reads
  another    50 scrapes a second of another sluiced with the same services, above a dataplane that forwards nothing: the same
             work on the first core, of which this dataplane sees nothing but what any neighbour does to caches and memory
  scraped    50 scrapes a second of the sluiced of this dataplane, which keeps its text for a second
  asked      as many questions over the API, each of which asks the dataplane for all that a scrape tells: what scrapes would
             cost if no text were kept

Counted are packets in a second of the worker thread's own time, so what others take of its core is left out. Prints a line for
each: the median, and those of its ratios to nobody and to another in the same round, with the quartiles. What scrapes cost the
dataplane is 1 - scraped / another. As root.
"""
import ctypes
import glob
import ipaddress
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(TOP, "build"))
sys.path.insert(0, os.path.join(TOP, "tests/protocol"))
from sluice_api import Connection  # noqa: E402

N_SERVICES, N_BACKENDS, N_FLOWS = 10, 100, 4096
TAP = "slsb0"
GATEWAY = "192.0.2.2"
PER_SECOND = 50
LEAST_SHARE = 0.5  # of its core that the worker has in a turn that counts
PORTS = {"scraped": 9109, "another": 9110}  # of metrics.listen
WORKER_CORE = os.cpu_count() - 1


def service_address(i):
    return f"203.0.113.{i + 1}"


def datagram(flow):
    """A frame of 60 bytes, the least there is: a client's datagram to one of the services."""
    source = int(ipaddress.ip_address("198.18.0.0")) + flow
    target = ipaddress.ip_address(service_address(flow % N_SERVICES)).packed
    head = struct.pack("!BBHHHBBHI4s", 0x45, 0, 46, 0, 0, 64, 17, 0, source, target)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + head[12:]
    return (bytes(6) + bytes.fromhex("020000000001") + b"\x08\0" + head
            + struct.pack("!HHHH", 1024 + flow % 60000, 53, 26, 0) + bytes(18))


class Host:
    """The namespace with the two programs; all of it ends with remove()."""

    def __init__(self):
        self.name = f"slsb{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="sluice-")
        self.processes = {}
        self.n_repeated = 0
        subprocess.run(["ip", "netns", "add", self.name], check=True)

    def run(self, *words):
        return subprocess.run(["ip", "netns", "exec", self.name, *words], check=True, capture_output=True, text=True)

    def start(self, name, *words):
        with open(os.path.join(self.dir, f"{name}.log"), "w") as log:
            self.processes[name] = subprocess.Popen(["ip", "netns", "exec", self.name, *words], stdout=log, stderr=log)

    def fail(self, what):
        for path in glob.glob(os.path.join(self.dir, "*.log")):
            print(open(path).read()[-2000:], file=sys.stderr)
        sys.exit(f"waited in vain for {what}")

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or any(process.poll() is not None for process in self.processes.values()):
                self.fail(what)
            time.sleep(0.05)

    def write_config(self, name, dataplane):
        """A folder of programs that balance the services; its configuration file."""
        folder = os.path.join(self.dir, name)
        os.makedirs(os.path.join(folder, "state"))
        path = os.path.join(folder, "sluice.yaml")
        with open(path, "w") as file:
            json.dump({"run_dir": folder, "state_dir": os.path.join(folder, "state"), "user": "root", "group": "root",
                       "dataplane": dataplane, "metrics": {"listen": f"127.0.0.1:{PORTS[name]}"},
                       "services": [{"name": f"service{i}", "address": f"{service_address(i)}:53/udp",
                                     "backends": [{"address": f"10.99.{i}.{k + 1}:53"} for k in range(N_BACKENDS)]}
                                    for i in range(N_SERVICES)]}, file)  # which is YAML
        return path

    def start_daemon(self, name):
        """Connected to its API."""
        path = os.path.join(self.dir, name, "control.sock")
        self.start(f"sluiced-{name}", "taskset", "-c", "0", os.path.join(BUILD, "sluiced"), "-c", os.path.join(self.dir, name, "sluice.yaml"))
        self.wait("control.sock", lambda: os.path.exists(path))
        api = Connection(path)
        self.wait("both to be in step", lambda: api.call("status")["in_step"])
        return api

    def start_sluice(self):
        frames = os.path.join(self.dir, "frames")
        with open(frames, "wb") as file:
            file.write(b"".join(datagram(flow) for flow in range(N_FLOWS)))
        config = self.write_config("scraped", {"engine": "dpdk", "workers": [WORKER_CORE], "max_workers": 1, "flows": 65536,
                                               "ports": [{"vdev": "net_null0,size=60", "kernel_interface": TAP}]})
        # Others wait rather than the worker.
        self.start("dataplane", "taskset", "-c", f"0,{WORKER_CORE}", "nice", "-n", "-20", "env",
                   f"LD_PRELOAD={os.path.join(BUILD, 'tests/bench/bench-play.so')}", f"SLUICE_PLAY={frames}",
                   os.path.join(BUILD, "sluice-dpdk"), "-c", config)
        self.wait("the TAP", lambda: TAP in self.run("ip", "-br", "link").stdout)
        self.run("sh", "-ec", f"ip link set lo up; ip addr add 192.0.2.1/24 dev {TAP}; ip link set {TAP} up; ip neigh add {GATEWAY} "
                 f"lladdr 02:00:00:00:00:99 dev {TAP} nud permanent; ip route add 10.99.0.0/16 via {GATEWAY}")
        self.api = self.start_daemon("scraped")
        self.wait("all flows", lambda: self.api.call("status")["flows"] == N_FLOWS)
        self.worker = self.find_worker()

    def start_another(self):
        config = self.write_config("another", {"ports": [{"vdev": "net_null0"}]})
        self.start("memory", "taskset", "-c", "0", os.path.join(BUILD, "sluice-memory"), "-c", config)
        self.start_daemon("another")

    def find_worker(self):
        """The time of the one thread that may run on its core alone and has run longest."""
        tasks = glob.glob(f"/proc/{self.processes['dataplane'].pid}/task/*")
        tasks = [task for task in tasks if os.sched_getaffinity(int(task.rsplit("/", 1)[1])) == {WORKER_CORE}]
        return max((os.path.join(task, "schedstat") for task in tasks), key=run_ns)

    def forwarded(self):
        """(packets that were forwarded, the worker's time) at one moment, to 2 ms."""
        while True:
            start = time.monotonic()
            before = run_ns(self.worker)
            n = self.api.call("counters")["verdicts"]["forward"]
            if time.monotonic() - start < 0.002:
                return n, (before + run_ns(self.worker)) / 2

    def remove(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(10)
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def run_ns(path):
    with open(path) as file:
        return int(file.read().split()[0])


class Reader(threading.Thread):
    """Asks PER_SECOND times a second until it is stopped, in the namespace of the balancer."""

    def __init__(self, host, ask):
        super().__init__()
        self.host, self.ask, self.n, self.ended = host, ask, 0, threading.Event()

    def run(self):
        # A thread's own: the others stay where they are.
        with open(f"/run/netns/{self.host.name}") as file:
            os_setns(file.fileno())
        start = time.monotonic()
        while not self.ended.is_set():
            self.ask()
            self.n += 1
            self.ended.wait(max(0, start + self.n / PER_SECOND - time.monotonic()))

    def stop(self):
        self.ended.set()
        self.join()


def os_setns(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def scrape(name):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return lambda: opener.open(f"http://127.0.0.1:{PORTS[name]}/metrics", timeout=10).read()


def ask_all(host):
    """What a scrape asks the dataplane for, over a connection of its own."""
    api = Connection(os.path.join(host.dir, "scraped", "control.sock"))

    def ask():
        api.call("status")
        api.call("counters")
        for i in range(N_SERVICES):
            api.call("counters", service=f"service{i}")
    return ask


def turn(host, ask, seconds):
    """(packets in a second of the worker's time, questions a second), of a turn in which it had most of its core."""
    while True:
        reader = Reader(host, ask) if ask else None
        if reader:
            reader.start()
            time.sleep(0.1)
        start, (n, ns), asked = time.monotonic(), host.forwarded(), reader.n if reader else 0
        time.sleep(seconds)
        (n_end, ns_end), asked_end = host.forwarded(), reader.n if reader else 0
        took = time.monotonic() - start
        if reader:
            reader.stop()
        if ns_end - ns > took * 1e9 * LEAST_SHARE:
            return (n_end - n) / (ns_end - ns) * 1e9, (asked_end - asked) / took
        host.n_repeated += 1


def say(kind, found, results):
    def ratio(other):
        low, middle, high = statistics.quantiles([mine / its for (mine, _), (its, _) in zip(found, results[other])], n=4)
        return f"/ {other} {middle:.4f} ({low:.4f} to {high:.4f})"

    print(f"{kind:8} {statistics.median(rate for rate, _ in found) / 1e6:7.3f} M packets/s of the worker's time, {ratio('nobody')}, "
          f"{ratio('another')}, {statistics.median(asked for _, asked in found):.1f} questions/s", flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {0})
    host = Host()
    try:
        host.start_sluice()
        host.start_another()
        kinds = {"nobody": None, "another": scrape("another"), "scraped": scrape("scraped"), "asked": ask_all(host)}
        results = {kind: [] for kind in kinds}
        for i in range(rounds):
            first = i % len(kinds)
            for kind in list(kinds)[first:] + list(kinds)[:first]:
                results[kind].append(turn(host, kinds[kind], seconds))
        for kind, found in results.items():
            say(kind, found, results)
        print(f"{rounds} rounds of {seconds:g} s, {host.n_repeated} turns repeated for the worker had no core; "
              f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    finally:
        host.remove()


if __name__ == "__main__":
    main()
