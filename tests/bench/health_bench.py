#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""health_bench.py [SECONDS]: what a health check costs sluiced.

A thousand backends, addresses of one namespace that this makes, each checked once a second by one type after
the other, on nginx and a UDP server on the other processor. Prints a line a type: checks a second that were
made, of how many, processor time a check, and how many began late. As root.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(TOP, "build"))
N_SERVICES, N_BACKENDS = 10, 100
CHECKS = {
    "tcp": ("tcp", 8080, {"type": "tcp"}),
    "tcp, send and expect": ("tcp", 8080, {"type": "tcp", "send": "GET / HTTP/1.0\r\n\r\n", "expect": "well"}),
    "http": ("tcp", 8080, {"type": "http", "body": "well"}),
    "udp": ("udp", 5353, {"type": "udp", "send": "?", "expect": "?"}),
    "icmp": ("tcp", 8080, {"type": "icmp"}),
}


class Host:
    """The namespace, its servers and the programs; all of it ends with remove()."""

    def __init__(self):
        self.name = f"slhb{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="sluice-")
        os.chmod(self.dir, 0o755)
        self.processes = {}
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "route", "add", "local", "10.99.0.0/16", "dev", "lo")
        self.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        self.start_servers()

    def run(self, *words):
        return subprocess.run(["ip", "netns", "exec", self.name, *words], check=True, capture_output=True, text=True)

    def start(self, name, core, *words):
        self.processes[name] = subprocess.Popen(["ip", "netns", "exec", self.name, "taskset", "-c", str(core), *words],
                                                stderr=subprocess.DEVNULL)

    def start_servers(self):
        config = os.path.join(self.dir, "nginx.conf")
        with open(config, "w") as file:
            file.write(f"daemon off; worker_processes 1; pid {self.dir}/pid; error_log {self.dir}/error.log;\n"
                       "events { worker_connections 4096; }\n"
                       "http { access_log off; client_body_temp_path /tmp; server { listen 0.0.0.0:8080;\n"
                       '  location / { return 200 "well"; } } }\n')
        self.start("nginx", 0, "nginx", "-c", config)
        self.start("echo", 0, sys.executable, os.path.join(TOP, "tests/netns/udp_echo.py"), "5353", "1")

    def write_config(self, protocol, port, check):
        document = {"dataplane": {"ports": [{"vdev": "net_null0"}]}, "run_dir": self.dir, "state_dir": os.path.join(self.dir, "state"), "user": "root", "group": "root",
                    "services": [{"name": f"service{i}", "address": f"203.0.113.{i + 1}:80/{protocol}",
                                  "check": {**check, "interval_ms": 1000, "jitter_percent": 0},
                                  "backends": [{"address": f"10.99.{i}.{k + 1}:{port}"} for k in range(N_BACKENDS)]}
                                 for i in range(N_SERVICES)]}
        shutil.rmtree(os.path.join(self.dir, "state"), ignore_errors=True)
        with open(os.path.join(self.dir, "sluice.yaml"), "w") as file:
            json.dump(document, file)  # which is YAML

    def start_sluice(self):
        config = os.path.join(self.dir, "sluice.yaml")
        self.start("dataplane", 0, os.path.join(BUILD, "sluice-memory"), "-c", config)
        self.start("sluiced", 1, os.path.join(BUILD, "sluiced"), "-c", config)

    def health(self):
        done = subprocess.run([os.path.join(BUILD, "sluice"), "-j", "-s", os.path.join(self.dir, "control.sock"), "status"],
                              capture_output=True, text=True)
        return json.loads(done.stdout)["health"] if done.returncode == 0 else {}

    def stop(self, *names):
        for name in names:
            process = self.processes.pop(name)
            process.terminate()
            process.wait(10)

    def remove(self):
        self.stop(*list(self.processes))
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(host, seconds):
    end = time.monotonic() + 30
    while host.health().get("up") != N_SERVICES * N_BACKENDS:
        if time.monotonic() > end:
            sys.exit(f"not all are up: {host.health()}")
        time.sleep(0.2)
    pid = host.processes["sluiced"].pid
    begun, cpu, before = time.monotonic(), cpu_seconds(pid), host.health()
    time.sleep(seconds)
    cpu, after, took = cpu_seconds(pid) - cpu, host.health(), time.monotonic() - begun
    n = after["checks"] - before["checks"]
    return {"checks_per_sec": n / took, "cpu_us_per_check": 1e6 * cpu / n, "busy_percent": 100 * cpu / took,
            "failed": after["failed"] - before["failed"], "delayed": after["delayed"] - before["delayed"]}


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    host = Host()
    try:
        for name, (protocol, port, check) in CHECKS.items():
            host.write_config(protocol, port, check)
            host.start_sluice()
            result = measure(host, seconds)
            host.stop("sluiced", "dataplane")
            print(f"{name:22} {result['checks_per_sec']:7.0f} of {N_SERVICES * N_BACKENDS} checks/s, "
                  f"{result['cpu_us_per_check']:6.1f} us a check, {result['busy_percent']:5.1f} % of a processor, "
                  f"{result['failed']} failed, {result['delayed']} delayed", flush=True)
    finally:
        host.remove()


if __name__ == "__main__":
    main()
