# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Two PCI NICs of four queues, driven by DPDK, with two and with four workers: real clients and
servers on their wires."""
import json
import os
import sys

import pytest

import topology

NETNS = os.path.join(topology.TOP, "tests", "netns")
TARGETS = [topology.SERVICE4, topology.SERVICE6]
CONNECTIONS = 120


def url(host, path):
    return f"http://[{host}]/{path}" if ":" in host else f"http://{host}/{path}"


def test_each_port_is_the_nics(net):
    ports = net.status()["ports"]
    assert [port["driver"] for port in ports] == ["net_virtio"] * 2
    assert all(port["up"] for port in ports), ports
    assert len(net.status()["workers"]) == net.workers


@pytest.mark.parametrize("host", TARGETS)
@pytest.mark.parametrize("name", ["kilo", "mega"])
def test_body_arrives_with_the_right_hash(net, files, host, name):
    done = net.run_in("client", "bash", "-c",
                      f"set -o pipefail; curl -sfg --max-time 60 '{url(host, name)}' | sha256sum")
    assert done.stdout.split()[0] == files[1][name]


@pytest.mark.parametrize("host", TARGETS)
def test_each_backend_answers_and_each_worker_owns_flows(net, host):
    before = net.counters()
    # Fixed ports and the fixed hash key: the same choices in each run.
    done = net.run_in("client", sys.executable, os.path.join(NETNS, "http_client.py"), host, "80",
                      str(CONNECTIONS), "10000")
    result = json.loads(done.stdout)
    after = net.counters()
    assert result["failed"] == 0, result
    assert set(result["answers"]) == {"backend1", "backend2", "backend3"}
    assert after["events"]["flow_created"] - before["events"]["flow_created"] == CONNECTIONS
    for old, new in zip(before["workers"], after["workers"]):
        assert new["events"]["flow_created"] > old["events"]["flow_created"], (old, new)
        assert new["events"]["rx"] > old["events"]["rx"], (old, new)


@pytest.mark.parametrize("host", TARGETS)
def test_datagrams_of_all_sizes_are_echoed(net, host):
    done = net.run_in("client", sys.executable, os.path.join(NETNS, "udp_client.py"), host, "53", "200")
    assert done.stdout.split() == ["200", "200"]


@pytest.mark.parametrize("host", [topology.OWN4, topology.SERVICE4, "2001:db8:1::1"])
def test_the_kernel_answers_echo(net, host):
    net.run_in("client", "ping", "-c", "3", "-i", "0.2", "-W", "5", host)


def test_no_nic_lost_a_frame(net):
    ports = net.status()["ports"]
    assert all(port["rx_missed"] == port["rx_nombuf"] == port["tx_errors"] == 0 for port in ports), ports
    # What the ports count and what the workers count are the same frames.
    assert sum(port["rx_packets"] for port in ports) == net.counters()["events"]["rx"]
