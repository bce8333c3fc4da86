#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""scale_bench.py [--engine memory|dpdk|xdp] [--services N] [--backends N] [--rounds N]: what an operator waits for.

One configuration file of N services of N backends each. Prints a line a command of `sluice`, with the median of
its times and the longest, and the medians of the CPU seconds of sluiced, of the dataplane but for its workers,
and of `sluice`: start (until the dataplane holds the file), check, diff, plan and apply of a file in which one
backend in ten weighs otherwise, rollback, list, the metrics, the status page, load (apply to a balancer without
services) and unload, and a new sluiced that finds its dataplane. As root; dpdk is driven by net_null, without hugepages,
and its worker sleeps while it is idle with --idle-sleep-us; xdp has one end of a veth pair.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(TOP, "build"))
METRICS_PORT = 9119
PORT = f"slscale{os.getpid() % 100000}"
PATIENCE_SEC = 120
TICKS_SEC = os.sysconf("SC_CLK_TCK")


def read_ticks(stat):
    """Name and CPU seconds of the process or thread whose /proc file this is; ("", 0): it is gone."""
    try:
        with open(stat) as file:
            head, tail = file.read().rsplit(")", 1)
    except OSError:
        return "", 0
    fields = tail.split()
    return head.split("(", 1)[1], (int(fields[11]) + int(fields[12])) / TICKS_SEC


def cpu_seconds(process):
    """Of all its threads, those that are gone too, but for workers, which poll."""
    seconds = read_ticks(f"/proc/{process.pid}/stat")[1]
    try:
        threads = os.listdir(f"/proc/{process.pid}/task")
    except OSError:
        return 0
    for thread in threads:
        name, of_thread = read_ticks(f"/proc/{process.pid}/task/{thread}/stat")
        if "worker" in name:
            seconds -= of_thread
    return seconds


def children_seconds():
    """CPU seconds of all children that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Instance:
    """A dataplane and sluiced in a folder of their own; all of it ends with remove()."""

    def __init__(self, options):
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="sluice-")
        self.config = os.path.join(self.dir, "sluice.yaml")
        self.other = os.path.join(self.dir, "other.yaml")
        self.empty = os.path.join(self.dir, "empty.yaml")
        self.programs = {}
        if options.engine == "xdp":
            self.make_port()
        self.write(self.config, lambda i: 1)
        self.write(self.other, lambda i: 2 if i % 10 == 0 else 1)
        self.write(self.empty, None)

    def make_port(self):
        os.mkdir(os.path.join(self.dir, "bpf"))
        subprocess.run(["mount", "-t", "bpf", "bpf", os.path.join(self.dir, "bpf")], check=True)
        subprocess.run(["ip", "link", "add", PORT, "type", "veth", "peer", "name", PORT + "p"], check=True)
        for name in (PORT, PORT + "p"):
            subprocess.run(["ip", "link", "set", name, "up"], check=True)

    def remove_port(self):
        subprocess.run(["ip", "link", "del", PORT], check=False)
        subprocess.run(["umount", os.path.join(self.dir, "bpf")], check=False)

    def dataplane_lines(self):
        if self.options.engine == "xdp":
            return f"  engine: xdp\n  flows: 65536\n  ports:\n    - interface: {PORT}\n"
        return ("  engine: dpdk\n  hugepages: off\n  memory_mb: 512\n  flows: 65536\n"
                f"  idle_sleep_us: {self.options.idle_sleep_us}\n  ports:\n    - vdev: net_null0\n")

    def write(self, path, weight):
        """@weight: None: no service."""
        with open(path, "w") as file:
            file.write(f"run_dir: {self.dir}\nstate_dir: {self.dir}/state\nuser: root\ngroup: root\n"
                       f"dataplane:\n{self.dataplane_lines()}"
                       f"metrics: {{listen: \"127.0.0.1:{METRICS_PORT}\"}}\nservices:{'' if weight else ' []'}\n")
            if not weight:
                return
            for i in range(self.options.services):
                file.write(f"  - name: service{i}\n    address: 203.{i >> 8 & 255}.{i & 255}.10:80/tcp\n    backends:\n")
                for k in range(self.options.backends):
                    file.write(f"      - {{address: 10.{i >> 8 & 255}.{i & 255}.{k + 1}:8080, weight: {weight(k)}}}\n")

    def start(self, program):
        self.programs[program] = subprocess.Popen([os.path.join(BUILD, program), "-c", self.config],
                                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sluice(self, *words, form=("-j",)):
        return subprocess.run([os.path.join(BUILD, "sluice"), *form, "-s", os.path.join(self.dir, "control.sock"), "--timeout", "60", *words],
                              capture_output=True, text=True)

    def cpu(self):
        """CPU seconds so far of sluiced, of the dataplane and of `sluice`."""
        running = self.programs
        return [cpu_seconds(running["sluiced"]), cpu_seconds(running[f"sluice-{self.options.engine}"]), children_seconds()]

    def wait_in_step(self):
        end = time.monotonic() + PATIENCE_SEC
        while time.monotonic() < end:
            done = self.sluice("status")
            if done.returncode == 0 and json.loads(done.stdout).get("in_step"):
                return
            time.sleep(0.02)
        sys.exit(f"not in step within {PATIENCE_SEC} s: {done.stdout}{done.stderr}")

    def stop(self, program, how=signal.SIGTERM):
        process = self.programs.pop(program)
        process.send_signal(how)
        process.wait(30)

    def remove(self):
        for program in list(self.programs):
            self.stop(program)
        if self.options.engine == "xdp":
            self.remove_port()
        shutil.rmtree(self.dir, ignore_errors=True)


class Times:
    """What was waited for, by its name: seconds, and CPU seconds of the three programs."""

    def __init__(self, instance):
        self.instance = instance
        self.taken = {}
        self.used = {}

    def take(self, name, work, before=None):
        """@before: the CPU seconds to count from, where not from now."""
        before = before or self.instance.cpu()
        start = time.monotonic()
        result = work()
        self.taken.setdefault(name, []).append(time.monotonic() - start)
        self.used.setdefault(name, []).append([now - then for now, then in zip(self.instance.cpu(), before)])
        return result

    def show(self):
        print(f"{'':34}   seconds     at most    CPU: sluiced  dataplane  sluice  sum")
        for name, seconds in self.taken.items():
            used = [statistics.median(column) for column in zip(*self.used[name])]
            print(f"{name:34} {statistics.median(seconds):9.3f} {max(seconds):11.3f}    {used[0]:12.2f} {used[1]:10.2f} {used[2]:7.2f} {sum(used):5.2f}",
                  flush=True)


def run(times, instance, name, *words, form=("-j",)):
    done = times.take(name, lambda: instance.sluice(*words, form=form))
    if done.returncode:
        sys.exit(f"{name}: {done.stdout[:400]}{done.stderr[:400]}")
    return done.stdout


def ask(times, instance, name, *words):
    output = run(times, instance, name, *words)
    return json.loads(output) if output else {}


def fetch(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}{path}", timeout=PATIENCE_SEC) as answer:
        return answer.read()


def one_round(times, instance):
    ask(times, instance, "check", "check", instance.other)
    ask(times, instance, "diff", "diff", instance.other)
    generation = ask(times, instance, "status", "status")["generation"]
    if instance.options.plan:
        ask(times, instance, "plan", "plan", instance.other)
    ask(times, instance, "apply, one backend in ten", "apply", instance.other)
    ask(times, instance, "rollback", "rollback", str(generation))
    ask(times, instance, "service list", "service", "list")
    ask(times, instance, "backend list of one service", "backend", "list", "service0")
    ask(times, instance, "backend list of all, -j", "backend", "list")
    run(times, instance, "backend list of all, text", "backend", "list", form=())
    ask(times, instance, "one backend's weight", "backend", "set", "service1", "10.0.1.1:8080", "weight", "3")
    ask(times, instance, "export", "export")
    time.sleep(1.1)  # what was served is a second old by then
    times.take("/metrics", lambda: fetch("/metrics"))
    times.take("/status.json", lambda: fetch("/status.json"))
    ask(times, instance, "unload, all services", "apply", instance.empty)
    ask(times, instance, "load into an empty balancer", "apply", instance.config)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("memory", "dpdk", "xdp"), default="dpdk")
    parser.add_argument("--idle-sleep-us", type=int, default=0)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--backends", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-plan", dest="plan", action="store_false")
    options = parser.parse_args()
    instance = Instance(options)
    times = Times(instance)
    try:
        instance.start(f"sluice-{options.engine}")
        instance.start("sluiced")
        times.take("start of both, until in step", instance.wait_in_step, before=[0, 0, children_seconds()])
        for _ in range(options.rounds):
            one_round(times, instance)
            instance.stop("sluiced", signal.SIGKILL)
            instance.start("sluiced")
            now = instance.cpu()
            times.take("sluiced anew, until in step", instance.wait_in_step, before=[0, *now[1:]])
        times.show()
    finally:
        instance.remove()


if __name__ == "__main__":
    main()
