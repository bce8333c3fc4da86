# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""dataplane.idle_sleep_us: workers that find nothing leave their cores to others, and miss nothing; without it
they poll all the time. Of the DPDK engine: XDP's programs are woken by packets (tests/config)."""
import os
import time

import pytest

import topology
from conftest import bring_up
from test_traffic import TARGETS, http

TICKS_SEC = os.sysconf("SC_CLK_TCK")
TIMEOUTS = {"transitory": 1, "udp": 1}


@pytest.fixture(scope="module", params=(("vdev", 2, 50), ("interface", 1, 1000), ("interface", 1, 0)),
                ids=("two workers, 50 us", "1000 us", "never"))
def net(request, files):
    kind, workers, idle_sleep_us = request.param
    made = bring_up(kind, files[0], workers, timeouts=TIMEOUTS, idle_sleep_us=idle_sleep_us)
    yield made
    made.remove()


def worker_seconds(net):
    """CPU seconds so far of the worker that has had most of them."""
    folder = f"/proc/{net.processes['dataplane'].pid}/task"
    most = 0
    for thread in os.listdir(folder):
        with open(f"{folder}/{thread}/stat") as file:
            head, tail = file.read().rsplit(")", 1)
        if "worker" in head:
            fields = tail.split()
            most = max(most, (int(fields[11]) + int(fields[12])) / TICKS_SEC)
    return most


def events(net):
    return net.counters()["events"]


def test_an_idle_worker_leaves_its_core(net):
    before, begin, start = events(net), worker_seconds(net), time.monotonic()
    time.sleep(1)
    taken, used = time.monotonic() - start, worker_seconds(net) - begin
    after = events(net)
    assert after["loops"] > before["loops"]
    if net.idle_sleep_us:
        assert after["sleeps"] > before["sleeps"]
        assert used < taken / 2
    else:
        assert after["sleeps"] == 0


def test_who_comes_after_a_pause_is_served(net):
    for host in TARGETS:
        for _ in range(10):
            time.sleep(0.02)  # longer than any sleep
            assert http(net, host, 1, 21000)["failed"] == 0


def test_what_keeps_coming_is_served(net):
    assert http(net, TARGETS[0], 500, 22000)["failed"] == 0


def test_flows_end_while_nothing_comes(net):
    assert http(net, TARGETS[0], 20, 24000)["failed"] == 0
    assert net.json("flow", "count")["ipv4"] >= 20
    topology.wait_until("their end", 30, lambda: net.json("flow", "count")["ipv4"] == 0)
