#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""gather.py FOLDER RESULTS [SKIPPED...]: one results file of the parts NAME.json in a folder.

With the facts that a figure means nothing without: the machine, the versions, the date, the commit."""

import datetime
import json
import os
import subprocess
import sys

PACKAGES = ["dpdk", "haproxy", "libbpf1", "libdpdk-dev", "nftables", "nginx-light", "libnginx-mod-stream", "wrk",
            "gcc-12", "clang-14"]
FORMAT = 1


def output(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def memory_mib():
    with open("/proc/meminfo") as file:
        return int(file.readline().split()[1]) // 1024


def hypervisor():
    for line in output("lscpu").splitlines():
        if line.startswith("Hypervisor vendor:"):
            return line.split(":", 1)[1].strip()
    return None


def packages():
    found = {}
    for name in PACKAGES:
        version = output("dpkg-query", "-W", "-f", "${Version}", name)
        if version:
            found[name] = version
    return found


def main():
    folder, results, *skipped = sys.argv[1:]
    parts = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name)) as file:
                parts[name.removesuffix(".json")] = json.load(file)
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    made = {
        "date": datetime.date.today().isoformat(),
        "commit": output("git", "-C", top, "rev-parse", "--short=12", "HEAD"),
        "is_changed": bool(output("git", "-C", top, "status", "--porcelain", "--untracked-files=no")),
    }
    machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "memory_mib": memory_mib(), "hypervisor": hypervisor(),
               "kernel": os.uname().release, "system": output("sh", "-c", ". /etc/os-release && echo \"$PRETTY_NAME\"")}
    with open(results, "w") as file:
        json.dump({"format": FORMAT, "made": made, "machine": machine, "packages": packages(),
                   "skipped": skipped, "parts": parts}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
