#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Measures Sluice's engines and their peers, each as the balancer between the same namespaces.

The balancer has one core, clients and backends share another. What is compared above all is the time
that the balancer's core spends on a request, a connection and a packet: the other core bounds all
the rest. Time is that of the scheduler (schedstat, in nanoseconds), and the same for all:

  - what comes to the balancer's ports comes as frames of a driver and not as packets of a socket: between
    them and the client, and them and the backends, are wires, XDP programs that redirect;
  - the ports of the balancer are polled by kernel threads (threaded NAPI) on its core, so that what the
    kernel does for a packet, nftables and XDP programs among it, is these threads' time;
  - to that comes the time of the balancer's own processes, and of its core's ksoftirqd;
  - what all of them use when nothing moves is measured before each load, and subtracted.

Waking the other core takes an interrupt to it, which in a virtual machine costs both more than the packet.
So what comes from the other core is polled each 50 us when little moves, as a NIC moderates its interrupts;
cores are kept from sleeping (/dev/cpu_dma_latency); and the threads that take what comes out of the balancer
do not preempt who runs on their core.

A worker of DPDK polls, and its time is no measure: of that is subtracted what its turns without a packet
cost, each as long as one is when nothing moves, before and after; how far these two are apart says how uncertain
the difference is. The core is all its own: the kernel's part of AF_XDP,
which a NIC would do, is on the other one and is reported beside it.

Plain routing is no balancer: it is what the same way costs when nobody chooses a backend.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import topology  # noqa: E402  (its folder is known only now)

PEER_CORE = 0
BALANCER_CORE = 1
PREFIX = "slbench"
LOCK = "/run/lock/sluice-bench.lock"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
CONNECTIONS = 32
N_FLOWS = 512
# Offered rates of small UDP, the last one as much as can be.
LADDER = [50_000 << i for i in range(7)] + [0]
QUICK_LADDER = [50_000, 800_000, 0]
HOLD = 0.7  # of the best rate: how much is lost with room to spare
DISTURBED = 0.05  # of the balancer's core, by others
PATIENCE = 20  # seconds that others are waited for
WIRES = {"eth1": "w1", "eth2": "w2"}  # the balancer's ports, and the ends that face them
MODERATION_NS = 50_000  # of polls, as of a NIC's interrupts
TRIES = 3  # of a load that was disturbed
BACKENDS = [topology.backend4(i) for i in (1, 2, 3)]

WRK_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def say(text):
    print(f"bench: peers: {text}", flush=True)


def schedstat_ns(task):
    """What a thread has run, in nanoseconds; `task` is its folder in /proc."""
    try:
        with open(os.path.join(task, "schedstat")) as file:
            return int(file.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def comm(task):
    try:
        with open(os.path.join(task, "comm")) as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def threads_of(pid):
    return [f"/proc/{pid}/task/{tid}" for tid in os.listdir(f"/proc/{pid}/task")]


def kernel_threads(pattern):
    return {name: f"/proc/{pid}" for pid in os.listdir("/proc") if pid.isdigit()
            for name in [comm(f"/proc/{pid}")] if re.fullmatch(pattern, name)}


def core_times(core):
    """Seconds that a core was busy, and that it was not there at all (steal)."""
    with open("/proc/stat") as file:
        line = next(line for line in file if line.startswith(f"cpu{core} "))
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (idle + iowait) / tick, steal / tick


class Net(topology.Topology):
    """The namespaces of the tests, with each program on its core and the balancer's ports on one."""

    def __init__(self, balancer):
        topology.ENGINE = balancer.engine or "xdp"
        super().__init__()
        self.prefix = f"{PREFIX}{self.prefix.removeprefix('sl')}"
        self.names.append("wire")
        self.napi = {}  # threads, by namespace and device
        self.program = os.path.join(topology.BUILD, "tests/bench/udp-blast")
        if balancer.engine == "dpdk":
            self.workers = f"[{BALANCER_CORE}]"

    def start(self, name, namespace, *words, **more):
        cores = {"balancer": f"{BALANCER_CORE}", "dataplane": f"{PEER_CORE},{BALANCER_CORE}"}.get(name, f"{PEER_CORE}")
        return super().start(name, namespace, "taskset", "-c", cores, *words, **more)

    def move(self, task, core):
        topology.run("taskset", "-pc", str(core), os.path.basename(task), check=False)

    def make_ports(self):
        """Puts a wire into each of the links; the balancer's ports are what it had, one wire further."""
        for port, end in WIRES.items():
            self.ip("lb", "link", "set", port, "netns", self.ns("wire"))
            self.ip("lb", "link", "add", port, "type", "veth", "peer", "name", end, "netns", self.ns("wire"))
            for namespace, device in (("wire", port), ("wire", end), ("lb", port)):
                self.quiet(namespace, device)
                self.ip(namespace, "link", "set", device, "up")
        super().make_ports()

    def start_wires(self):
        for port, end in WIRES.items():
            counted = ["--port", "5353"] if port == "eth2" else []
            with open(os.path.join(self.dir, f"{end}.log"), "a") as log:
                self.processes[end] = subprocess.Popen(
                    self.in_ns("wire", "taskset", "-c", str(PEER_CORE), self.program, "wire", port, end, *counted),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            self.count(end)  # by its answer it is there

    def count(self, end):
        """What a wire has counted so far, by the last byte of the destination."""
        wire = self.processes[end]
        wire.stdin.write("\n")
        wire.stdin.flush()
        line = wire.stdout.readline()
        if not line:
            raise AssertionError(f"a wire ended: {self.log(end)}")
        return json.loads(line)

    def thread_ports(self, port_core):
        """Has kernel threads poll all ends of the balancer's links, each on its core."""
        for namespace, device, core in (("client", "eth0", PEER_CORE), ("net", "lb", PEER_CORE),
                                        *(("wire", device, PEER_CORE) for pair in WIRES.items() for device in pair),
                                        *(("lb", device, port_core) for device in WIRES)):
            pattern = rf"napi/{device}-\d+"
            before = kernel_threads(pattern)
            # A veth polls if it has a program or GRO, and NICs have GRO.
            self.run_in(namespace, "ethtool", "-K", device, "gro", "on")
            self.run_in(namespace, "sh", "-c", f"echo 1 >/sys/class/net/{device}/threaded")
            new = topology.wait_until(f"the thread of {device}", 5, lambda p=pattern, b=before: {
                name: task for name, task in kernel_threads(p).items() if name not in b})
            if len(new) != 1:
                raise AssertionError(f"threads that poll {device}: {sorted(new)}, and not one")
            task, = new.values()
            self.move(task, core)
            topology.run("renice", "-n", str(os.nice(0)), "-p", os.path.basename(task))
            if namespace == "lb" or device in WIRES.values():
                self.moderate(namespace, device)
            self.napi[f"{namespace} {device}"] = task

    def moderate(self, namespace, device):
        """After a poll that found something, the next two come by the clock and not by a wake-up."""
        for name, value in (("gro_flush_timeout", MODERATION_NS), ("napi_defer_hard_irqs", 2)):
            self.run_in(namespace, "sh", "-c", f"echo {value} >/sys/class/net/{device}/{name}")

    def takers(self, *policy):
        """How the threads are scheduled that take what comes out of the balancer."""
        for name, task in self.napi.items():
            if not name.startswith("lb "):
                topology.run("chrt", *policy, os.path.basename(task))

    def resolve(self):
        for namespace, address in (*(("lb", address) for address in BACKENDS), ("client", topology.OWN4)):
            topology.wait_until(f"{address} to answer", 30, lambda n=namespace, a=address: self.run_in(
                n, "ping", "-c1", "-W1", a, check=False).returncode == 0)


class Balancer:
    """What stands in the middle. Subclasses start it, and say which threads are its own."""

    engine = None
    has_udp = True
    port_core = BALANCER_CORE
    http = f"http://{topology.SERVICE4}:80/name"
    udp = (topology.SERVICE4, 53)

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def start(self, net):
        raise NotImplementedError

    def own_tasks(self, net):
        """Threads of its own on its core, beside those that poll the ports."""
        return [task for name in ("balancer", "dataplane") if name in net.processes
                for task in threads_of(net.processes[name].pid)]

    def turns(self, net):
        """Turns of a polling loop that found nothing; None if it does not poll."""
        return None


class Routing(Balancer):
    name = "routing"
    label = "plain routing, no balancer"
    http = f"http://{BACKENDS[0]}:8080/name"
    udp = (BACKENDS[0], 5353)

    def start(self, net):
        net.run_in("lb", "sysctl", "-qw", "net.ipv4.ip_forward=1")


class Nftables(Balancer):
    name = "nftables"
    label = "nftables DNAT"

    def missing(self):
        return None if shutil.which("nft") else "nft is not installed"

    def start(self, net):
        net.run_in("lb", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = []
        for protocol, service, port in (("tcp", 80, 8080), ("udp", 53, 5353)):
            backends = ", ".join(f"{i} : {address} . {port}" for i, address in enumerate(BACKENDS))
            rules.append(f"ip daddr {topology.SERVICE4} {protocol} dport {service} dnat ip addr . port to "
                         f"jhash ip saddr . {protocol} sport mod {len(BACKENDS)} map {{ {backends} }}")
        net.run_in("lb", "nft", "-f", "-", input="\n".join([
            "table ip bench {", "chain prerouting {", "type nat hook prerouting priority dstnat;",
            *rules, "}", "}", ""]))


class Haproxy(Balancer):
    name = "haproxy"
    label = "HAProxy, mode tcp"
    has_udp = False

    def missing(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def start(self, net):
        path = os.path.join(net.dir, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen web
  bind {topology.SERVICE4}:80
  balance roundrobin
""" + "".join(f"  server b{i} {address}:8080\n" for i, address in enumerate(BACKENDS)))
        net.start("balancer", "lb", "haproxy", "-db", "-f", path)


class Nginx(Balancer):
    name = "nginx"
    label = "nginx, stream"

    def missing(self):
        if not shutil.which("nginx"):
            return "nginx is not installed"
        return None if os.path.exists(NGINX_STREAM) else "nginx has no stream module (libnginx-mod-stream)"

    def start(self, net):
        path = os.path.join(net.dir, "stream.conf")
        def upstream(name, port):
            return f"upstream {name} {{ " + " ".join(f"server {a}:{port};" for a in BACKENDS) + " }"
        with open(path, "w") as file:
            file.write(f"""
load_module {NGINX_STREAM};
daemon off; master_process off; pid {net.dir}/stream.pid; error_log {net.dir}/stream.log crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
stream {{
  {upstream("web", 8080)}
  {upstream("small", 5353)}
  server {{ listen {topology.SERVICE4}:80; proxy_pass web; }}
  server {{ listen {topology.SERVICE4}:53 udp; proxy_pass small; proxy_timeout 60s; }}
}}
""")
        net.start("balancer", "lb", "nginx", "-c", path)


class SluiceXdp(Balancer):
    name = "sluice-xdp"
    label = "Sluice, XDP"
    engine = "xdp"

    def missing(self):
        program = os.path.join(topology.BUILD, f"sluice-{self.engine}")
        return None if os.path.exists(program) else f"{program} is not built"

    def start(self, net):
        net.write_config({name: (f"{topology.SERVICE4}:{service}", [(f"{a}:{port}", 1) for a in BACKENDS])
                          for name, service, port in (("web", "80/tcp", 8080), ("small", "53/udp", 5353))})
        net.start_sluice()
        for task in threads_of(net.processes["dataplane"].pid):
            net.move(task, self.core_of(task))

    def core_of(self, _task):
        return BALANCER_CORE


class SluiceDpdk(SluiceXdp):
    name = "sluice-dpdk"
    label = "Sluice, DPDK (AF_XDP)"
    engine = "dpdk"
    port_core = PEER_CORE

    @staticmethod
    def is_worker(task):
        return re.match(r"(rte|lcore)-(worker|slave)", comm(task)) is not None

    def core_of(self, task):
        return BALANCER_CORE if self.is_worker(task) else PEER_CORE

    def own_tasks(self, net):
        return [task for task in super().own_tasks(net) if self.is_worker(task)]

    def turns(self, net):
        events = net.counters()["events"]
        return events["loops"] - events["busy_loops"]


BALANCERS = [Routing(), Nftables(), Haproxy(), Nginx(), SluiceXdp(), SluiceDpdk()]


class Meter:
    """What the balancer's core does while something else happens."""

    def __init__(self, net, balancer):
        self.net = net
        self.balancer = balancer
        self.idle_rate = 0.0  # of a second, when nothing moves
        self.turn_ns = 0.0

    def read(self):
        tasks = list(self.balancer.own_tasks(self.net))
        ports = [self.net.napi[f"lb {device}"] for device in WIRES]
        here = self.balancer.port_core == BALANCER_CORE
        softirqd = list(kernel_threads(f"ksoftirqd/{BALANCER_CORE}").values())
        idle, steal = core_times(BALANCER_CORE)
        turns = self.balancer.turns(self.net)
        return {"time": time.monotonic(), "own": sum(map(schedstat_ns, tasks + softirqd + (ports if here else []))),
                "ports": sum(map(schedstat_ns, ports)), "idle": idle, "steal": steal, "turns": turns}

    def measure(self, action):
        """What `action` returned, and nanoseconds of the core for it, with what else there is to know."""
        before = self.read()
        result = action()
        after = self.read()
        seconds, own, ports, idle, steal = (after[key] - before[key] for key in ("time", "own", "ports", "idle", "steal"))
        others = max(0.0, seconds - idle - steal - own / 1e9) / seconds
        busy = own - self.idle_rate * seconds * 1e9
        polled = {}
        if before["turns"] is not None:
            polled = {"own_ns": own, "turns": after["turns"] - before["turns"]}
            busy = own - polled["turns"] * self.turn_ns
        used = {"core_ns": max(0.0, busy), "seconds": seconds, "others": round(others, 4),
                "steal": round(steal / seconds, 4), "is_disturbed": others + steal / seconds > DISTURBED,
                **(polled or {"idle_share": round(self.idle_rate, 5)})}
        if self.balancer.port_core != BALANCER_CORE:
            used["other_core_ns"] = ports
        return result, used

    def calibrate(self, seconds):
        """Learns what is used when nothing moves."""
        before = self.read()
        time.sleep(seconds)
        after = self.read()
        own = after["own"] - before["own"]
        if before["turns"] is None:
            self.idle_rate = own / 1e9 / (after["time"] - before["time"])
        else:
            self.turn_ns = own / max(1, after["turns"] - before["turns"])


def share_of_others(core, seconds):
    """How much of a core others have, while we do nothing."""
    before, start = core_times(core), time.monotonic()
    time.sleep(seconds)
    after = core_times(core)
    return max(0.0, 1 - (after[0] - before[0]) / (time.monotonic() - start))


def wait_for_quiet(seconds):
    """Waits a while for others to leave the balancer's core; says so if they do not."""
    end = time.monotonic() + seconds
    while True:
        share = share_of_others(BALANCER_CORE, 0.3)
        if share <= DISTURBED:
            return
        if time.monotonic() > end:
            say(f"others have {share:.0%} of core {BALANCER_CORE}: what follows is disturbed")
            return


def calmest(load, tries):
    """Measures again what was disturbed; returns what was so the least."""
    results = []
    while len(results) < tries and (not results or results[-1]["is_disturbed"]):
        results.append(load())
    return min(results, key=lambda one: one["others"] + one["steal"])


def between_idles(meter, seconds, load):
    """A load's results, by what is used when nothing moves before it and, for who polls, after it."""
    meter.calibrate(seconds)
    before = meter.turn_ns
    result = load()
    if "turns" in result:
        meter.calibrate(seconds)
        for one in (result, *result.get("ladder", []), *([result["hold"]] if "hold" in result else [])):
            turn = (before + meter.turn_ns) / 2
            one["core_ns"] = max(0.0, one["own_ns"] - one["turns"] * turn)
            one["core_us"] = one["core_ns"] / 1e3 / max(1, one["n"])
            one["core_us_uncertain"] = abs(before - turn) * one["turns"] / 1e3 / max(1, one["n"])
    return result


def http_load(net, meter, seconds, headers):
    """wrk's figures, with the time of the balancer's core for each request."""
    script = os.path.join(net.dir, "done.lua")
    with open(script, "w") as file:
        file.write(WRK_DONE)
    words = net.in_ns("client", "taskset", "-c", str(PEER_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
                      "--timeout", "10s", "--latency", "-s", script, *headers, meter.balancer.http)
    done, used = meter.measure(lambda: topology.run(*words))
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if not found:
        raise AssertionError(f"wrk: {done.stdout}{done.stderr}")
    result = json.loads(found[1])
    n = max(1, result["requests"])
    if result["requests"] == 0 and not used["is_disturbed"]:
        raise AssertionError(f"no request was answered: {done.stdout}")
    return {"per_second": result["requests"] / (result["us"] / 1e6), "n": result["requests"],
            "p50_us": result["p50_us"], "p99_us": result["p99_us"], "errors": result["errors"],
            "core_us": used["core_ns"] / 1e3 / n,
            **({"other_core_us": used["other_core_ns"] / 1e3 / n} if "other_core_ns" in used else {}), **used}


class Blast:
    """Small UDP from the client's wire, dropped and counted by the backends'."""

    def __init__(self, net, meter):
        self.net = net
        self.meter = meter
        self.mac = net.run_in("lb", "cat", "/sys/class/net/eth1/address").stdout.strip()

    def send(self, rate, seconds):
        address, port = self.meter.balancer.udp
        words = self.net.in_ns("wire", "taskset", "-c", str(PEER_CORE), self.net.program, "send", WIRES["eth1"], "--from",
                               topology.CLIENT4, "--to", address, "--port", str(port), "--next-hop", self.mac,
                               "--flows", str(N_FLOWS), "--rate", str(int(rate)), "--seconds", str(seconds))
        before = self.net.count(WIRES["eth2"])
        done, used = self.meter.measure(lambda: json.loads(topology.run(*words).stdout))
        time.sleep(0.02)  # what is still in queues
        after = self.net.count(WIRES["eth2"])
        arrived = {host: n - before.get(host, 0) for host, n in after.items()}
        n = sum(arrived.values())
        return {"wanted_per_second": rate, "offered_per_second": done["sent"] / done["seconds"],
                "per_second": n / done["seconds"], "loss": max(0.0, 1 - n / max(1, done["sent"])), "n": n,
                "backends": sorted(arrived.values()), "core_us": used["core_ns"] / 1e3 / max(1, n),
                **({"other_core_us": used["other_core_ns"] / 1e3 / max(1, n)} if "other_core_ns" in used else {}), **used}

    def load(self, seconds, ladder):
        """The best of the ladder, the ladder, and what is lost at a part of the best."""
        step = max(0.1, seconds / 6)
        self.send(ladder[0], 0.1)  # flows, and what is to be cached
        steps = [self.send(rate, step) for rate in ladder]
        best = max(steps, key=lambda one: one["per_second"])
        if best["n"] == 0 and not best["is_disturbed"]:
            raise AssertionError("not one datagram arrived")
        hold = self.send(best["per_second"] * HOLD, seconds)
        return {**best, "ladder": steps, "hold": hold}


def measure(balancer, arguments):
    """One life of one balancer: what each load gave."""
    net = Net(balancer)
    seconds = arguments.seconds
    tries = TRIES if arguments.patience else 1
    try:
        net.make()
        net.thread_ports(balancer.port_core)
        net.start_wires()
        net.start_nginx(net.dir)
        balancer.start(net)
        net.resolve()
        topology.wait_until("an answer through the balancer", 30, lambda: "backend" in net.run_in(
            "client", "curl", "-s", "--max-time", "2", balancer.http, check=False).stdout)
        meter = Meter(net, balancer)
        idle = 0.1 if arguments.quick else max(0.3, seconds / 4)
        loads = {}
        net.takers("-b", "-p", "0")
        for name, headers in (("requests", []), ("connections", ["-H", "Connection: close"])):
            def load(headers=headers):
                return http_load(net, meter, seconds, headers)
            loads[name] = calmest(lambda one=load: between_idles(meter, idle, one), tries)
        if balancer.has_udp:
            # The sender never sleeps: what arrives is taken before more is sent.
            net.takers("-f", "-p", "1")
            blast = Blast(net, meter)
            loads["packets"] = between_idles(meter, idle, lambda: blast.load(seconds, QUICK_LADDER if arguments.quick else LADDER))
        return loads
    except BaseException as error:
        if isinstance(error, Exception):
            for name in ("dataplane", "sluiced", "balancer", *WIRES.values()):
                if os.path.exists(os.path.join(net.dir, f"{name}.log")):
                    print(f"--- {name}\n{net.log(name)[-2000:]}", file=sys.stderr)
        raise
    finally:
        net.remove()


def sentence(loads):
    parts = []
    for name, what, n in (("requests", "requests/s", "a request"), ("connections", "connections/s", "a connection"),
                          ("packets", "packets/s", "a packet")):
        if name in loads:
            one = loads[name]
            parts.append(f"{one['per_second']:,.0f} {what}, {one['core_us']:.2f} us {n}"
                         + (" (disturbed)" if one["is_disturbed"] else ""))
    return "; ".join(parts)


def remove_stale():
    """What a run left that was killed: namespaces whose name has the number of a process that is gone."""
    for name in topology.run("ip", "netns", "list").stdout.split():
        found = re.match(rf"{PREFIX}(\d+)-", name)
        if not found or os.path.exists(f"/proc/{found[1]}"):
            continue
        for pid in topology.run("ip", "netns", "pids", name, check=False).stdout.split():
            say(f"process {pid} was left in {name}: ending it")
            os.kill(int(pid), signal.SIGKILL)
        topology.run("ip", "netns", "del", name, check=False)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measures Sluice's engines and their peers. Needs root.")
    parser.add_argument("--json", metavar="FILE", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="one round, as short as can be: to see that it runs")
    parser.add_argument("--rounds", type=int, help="lives of each balancer, interleaved (3)")
    parser.add_argument("--seconds", type=int, help="of each load (3)")
    parser.add_argument("--patience", type=int, help=f"seconds that others are waited for ({PATIENCE}); with 0 nothing that "
                        "was disturbed is measured again")
    parser.add_argument("--only", metavar="NAMES", help="of " + ",".join(b.name for b in BALANCERS))
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 3)
    if arguments.patience is None:
        arguments.patience = 0 if arguments.quick else PATIENCE
    names = arguments.only.split(",") if arguments.only else [b.name for b in BALANCERS]
    unknown = set(names) - {b.name for b in BALANCERS}
    if unknown:
        parser.error(f"no such balancer: {', '.join(sorted(unknown))}")
    arguments.balancers = [b for b in BALANCERS if b.name in names]
    return arguments


def keep_awake():
    """Keeps cores from sleeping as long as what is returned is open; None where that cannot be asked for."""
    try:
        file = open("/dev/cpu_dma_latency", "wb", buffering=0)
    except OSError:
        return None
    file.write(bytes(4))
    return file


def end(number, _frame):
    raise SystemExit(128 + number)


def main():
    arguments = parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    if os.geteuid() != 0:
        sys.exit("bench: peers: needs root")
    if not shutil.which("wrk"):
        sys.exit("bench: peers: wrk is not installed")
    if not os.path.exists(os.path.join(topology.BUILD, "tests/bench/udp-blast")):
        sys.exit("bench: peers: udp-blast is not built (it needs clang, bpftool and libbpf)")
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: peers: needs two cores: one for the balancer, one for clients and backends")
    lock = open(LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("bench: peers: another run has the cores")
    remove_stale()
    awake = keep_awake()
    skipped, failed, runs, chosen = [], [], [], []
    for balancer in arguments.balancers:
        why = balancer.missing()
        if why:
            skipped.append(f"{balancer.label}: {why}")
        else:
            chosen.append(balancer)
    for line in skipped:
        say(f"SKIPPED {line}")
    start = os.getloadavg()[0]
    for number in range(arguments.rounds):
        for balancer in chosen[number % len(chosen):] + chosen[:number % len(chosen)]:
            wait_for_quiet(arguments.patience)
            try:
                loads = measure(balancer, arguments)
            except Exception as error:  # noqa: BLE001  (the others are worth measuring)
                failed.append(f"{balancer.label}, round {number + 1}: {error}")
                say(f"FAILED {failed[-1]}")
                continue
            runs.append({"balancer": balancer.name, "round": number + 1, **loads})
            say(f"round {number + 1} of {arguments.rounds}, {balancer.label}: {sentence(loads)}")
    results = {
        "settings": {"rounds": arguments.rounds, "seconds": arguments.seconds, "connections": CONNECTIONS,
                     "flows": N_FLOWS, "hold": HOLD, "disturbed_above": DISTURBED, "quick": arguments.quick,
                     "balancer_core": BALANCER_CORE, "peer_core": PEER_CORE, "load_average": start,
                     "is_awake": awake is not None},
        "balancers": [{"name": b.name, "label": b.label} for b in chosen], "runs": runs, "skipped": skipped,
        "failed": failed}
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
    say(f"{len(runs)} measured, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
