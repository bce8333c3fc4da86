# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Mode fullnat on eight workers, more than there are cores: the driver spreads frames by a hash of its own, so seven
in eight arrive at the wrong worker, of clients and of backends alike, and every one is handed to its owner."""
import json
import os
import sys

import pytest

import topology
from test_onearm import test_no_two_live_flows_share_a_source  # noqa: F401

KIND = "vdev"
WORKERS = 8
ONE_ARM = True
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize("host", [topology.SERVICE4, topology.SERVICE6])
def test_no_request_fails(net, host):
    before = net.counters()["events"]
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), host, "80", "200", "10000")
    assert json.loads(done.stdout)["failed"] == 0, done.stdout
    after = net.counters()["events"]
    assert after["flow_created"] - before["flow_created"] == 200 and after["handoff"] - before["handoff"] > 1000


def test_datagrams_are_echoed(net):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "udp_client.py"), topology.SERVICE4, "53", "200")
    assert done.stdout.split() == ["200", "200"]


def test_each_worker_has_its_share(net):
    flows = [worker["flows"] for worker in net.status()["workers"]]
    assert len(flows) == 8 and all(n > sum(flows) / 32 for n in flows), flows
    counters = net.counters()
    assert counters["verdicts"]["drop_handoff_full"] == 0 and counters["events"]["affinity_miss"] == 0
