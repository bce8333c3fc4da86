# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Two workers, each with a queue of every port: the driver spreads frames by a hash of its own, so
about half arrive at the wrong worker and are handed to the owner of their flow. The XDP engine has no
workers: its CPUs share the flows, and nothing is ever handed over."""
import json
import os
import sys

import pytest

import topology

KIND = "vdev"
WORKERS = 2
HERE = os.path.dirname(os.path.abspath(__file__))


# Fixed ports and the fixed hash key: each worker owns the same flows in each run.
@pytest.mark.parametrize("host", [topology.SERVICE4, topology.SERVICE6])
def test_no_request_fails_on_two_workers(net, host):
    before = net.counters()["events"]
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), host, "80", "400", "10000")
    assert json.loads(done.stdout)["failed"] == 0, done.stdout
    after = net.counters()["events"]
    assert after["flow_created"] - before["flow_created"] == 400
    assert (after["handoff"] > before["handoff"]) == (topology.ENGINE == "dpdk")


def test_datagrams_are_echoed_on_two_workers(net):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "udp_client.py"), topology.SERVICE4, "53", "400")
    assert done.stdout.split() == ["400", "400"]


def test_each_worker_owns_half_of_the_flows(net):
    def flows():
        status = net.status()
        if topology.ENGINE == "xdp":
            return [status["flows"] / 2] * 2  # shared: no worker owns any
        return [worker["flows"] for worker in status["workers"]]

    before = flows()
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"),
                      topology.SERVICE4, "80", "400", "11000")
    assert json.loads(done.stdout)["failed"] == 0, done.stdout
    after = flows()
    assert all(150 < new - old < 250 for new, old in zip(after, before)), (before, after)
