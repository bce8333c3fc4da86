#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""hints_bench.py [SERVICES [BACKENDS [SECONDS]]]: what looking at the openings of all backends costs.

SERVICES (1,000) of BACKENDS (100), all checked, and each looked at once a second; then the same with `passive: off`. Prints
for both the processor time of sluiced and of the dataplane's control thread in SECONDS (20), and how long a question to the API
took meanwhile. SLUICE_ENGINE=dpdk|xdp; as root.
"""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "netns"))
import topology  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_SEC = 120
# Each once at the start, and then not again: an echo of this host's own, which all of 10.0.0.0/8 but the links is.
CHECK = {"type": "icmp", "interval_ms": 3600000, "timeout_ms": 1000}


def services(n_services, n_backends, passive):
    return {f"service{i}": (f"203.{i >> 8 & 255}.{i & 255}.10:80/tcp",
                            [(f"10.{i >> 8 & 255}.{i & 255}.{k + 1}:8080", 1) for k in range(n_backends)],
                            {}, {"check": {**CHECK, "passive": passive}, "slots": 65537}) for i in range(n_services)}


def processor_sec(pid):
    """Of a program's first thread, which is its event loop."""
    with open(f"/proc/{pid}/task/{pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def named(net, program):
    """The process itself, not the one that entered its namespace."""
    pid = net.processes[program].pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return int((file.read().split() or [pid])[0])


def measure(net, seconds):
    pids = {program: named(net, program) for program in ("sluiced", "dataplane")}
    before = {program: processor_sec(pid) for program, pid in pids.items()}
    start, took = time.monotonic(), []
    while time.monotonic() - start < seconds:
        asked = time.monotonic()
        net.sluice("service", "show", "service0")
        took.append(time.monotonic() - asked)
        time.sleep(0.2)
    whole = time.monotonic() - start
    return {program: (processor_sec(pid) - before[program]) / whole for program, pid in pids.items()}, took


def main():
    n_services, n_backends, seconds = (int(word) for word in [*sys.argv[1:], *["1000", "100", "20"][len(sys.argv) - 1:]])
    net = topology.Topology()
    try:
        net.make()
        net.run_in("lb", "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        net.ip("lb", "link", "set", "lo", "up")
        net.ip("lb", "route", "add", "local", "10.0.0.0/8", "dev", "lo")
        net.write_config(services(n_services, n_backends, "openings"))
        net.bring_dataplane_up()
        net.start_daemon()
        topology.wait_until(lambda: f"all to be checked: {net.log('sluiced')[-600:]}", PATIENCE_SEC,
                            lambda: net.sluice("status", check=False).returncode == 0 and net.status()["in_step"] and
                            net.status()["health"]["unknown"] == 0)
        for passive in ("openings", "off"):
            net.write_config(services(n_services, n_backends, passive))
            net.sluice("--timeout", "60", "apply", net.config)
            time.sleep(5)
            topology.wait_until("checks to be over", PATIENCE_SEC, lambda: net.status()["health"]["running"] == 0)
            time.sleep(n_services * n_backends / 4000 + 2)
            shares, took = measure(net, seconds)
            print(f"passive {passive:9} " + ", ".join(f"{program} {share:.2%} of a processor" for program, share in shares.items()) +
                  f", a question {statistics.median(took) * 1000:.1f} ms, at most {max(took) * 1000:.1f} ms", flush=True)
    finally:
        net.remove()


if __name__ == "__main__":
    main()
