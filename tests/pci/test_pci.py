# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Two PCI NICs of four queues, driven by DPDK, with two and with four workers: real clients and
servers on their wires."""
import json
import os
import sys

import pytest

import topology
from test_changing_workers import Keeper, nothing_lost

NETNS = os.path.join(topology.TOP, "tests", "netns")
TARGETS = [topology.SERVICE4, topology.SERVICE6]
CONNECTIONS = 120


def url(host, path, port=80):
    return f"http://[{host}]:{port}/{path}" if ":" in host else f"http://{host}:{port}/{path}"


def test_each_port_is_the_nics(net):
    ports = net.status()["ports"]
    assert [port["driver"] for port in ports] == ["net_virtio"] * 2
    assert all(port["up"] for port in ports), ports
    assert len(net.status()["workers"]) == net.workers


# The machine is slow: a test has several steps, where each would be a test elsewhere.
def test_bodies_arrive_with_the_right_hash(net, files):
    for host in TARGETS:
        for name, digest in files[1].items():
            done = net.run_in("client", "bash", "-c",
                              f"set -o pipefail; curl -sfg --max-time 60 '{url(host, name)}' | sha256sum")
            assert done.stdout.split()[0] == digest, (host, name)


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


def test_replies_of_fullnat_come_to_the_worker_that_chose_the_port(net):
    """No frame is handed to another worker: the card gives each reply to the flow's owner."""
    before = net.counters()
    for host, sources in zip(TARGETS, (topology.SOURCES4, topology.SOURCES6)):
        done = net.run_in("client", sys.executable, os.path.join(NETNS, "http_client.py"), host, "81",
                          str(CONNECTIONS), "12000")
        result = json.loads(done.stdout)
        assert result["failed"] == 0, result
        assert set(result["answers"]) == {"backend1", "backend2", "backend3"}
        who = net.run_in("client", "curl", "-sfg", "--max-time", "20", url(host, "who", 81))
        assert who.stdout.strip() in sources
    done = net.run_in("client", sys.executable, os.path.join(NETNS, "udp_client.py"), topology.SERVICE4, "54", "200")
    assert done.stdout.split() == ["200", "200"]
    after = net.counters()
    assert after["events"]["flow_created"] - before["events"]["flow_created"] > 2 * CONNECTIONS
    assert after["events"]["handoff"] == before["events"]["handoff"]
    assert after["events"]["affinity_miss"] == before["events"]["affinity_miss"] == 0
    for old, new in zip(before["workers"], after["workers"]):
        assert new["events"]["flow_created"] > old["events"]["flow_created"], (old, new)


def test_datagrams_of_all_sizes_are_echoed(net):
    for host in TARGETS:
        done = net.run_in("client", sys.executable, os.path.join(NETNS, "udp_client.py"), host, "53", "200")
        assert done.stdout.split() == ["200", "200"], host


def test_the_kernel_answers_echo(net):
    for host in (topology.OWN4, topology.SERVICE4, "2001:db8:1::1"):
        net.run_in("client", "ping", "-c", "3", "-i", "0.2", "-W", "5", host)


def test_packets_come_where_the_nics_key_and_table_say(net):
    before = net.counters()
    log = net.log("dataplane")
    assert log.count(f"{net.workers} of 4 queues, steered by RSS: our key of 40 bytes, table of 128 entries") == 2, log
    assert log.count("RSS verified") == 2 and "in software" not in log, log
    assert all(worker["events"]["affinity_checked"] > 0 for worker in before["workers"]), before
    net.run_in("client", "curl", "-sfg", "-o", "/dev/null", "--max-time", "20", url(topology.SERVICE4, "kilo"))
    after = net.counters()
    assert after["events"]["affinity_miss"] == 0
    checked = after["events"]["affinity_checked"]
    if net.checks_all:
        balanced = after["verdicts"]["forward"] + after["verdicts"]["reply"]
        assert checked >= balanced > 2000
    else:
        # It is verified, and costs no more.
        assert checked == before["events"]["affinity_checked"]


def test_no_nic_lost_a_frame(net):
    ports = net.status()["ports"]
    assert all(port["rx_missed"] == port["rx_nombuf"] == port["tx_errors"] == 0 for port in ports), ports

    counts = []

    def ports_agree_with_workers():
        before = net.counters()["events"]["rx"]
        received = sum(port["rx_packets"] for port in net.status()["ports"])
        after = net.counters()["events"]["rx"]
        counts.append((before, received, after))
        return before <= received <= after
    topology.wait_until(lambda: f"ports and workers to count the same frames: (workers, ports, workers) {counts[-3:]}", 10,
                        ports_agree_with_workers)


def test_datagrams_in_fragments_are_echoed(net):
    """The card spreads fragments by their addresses; what it knows nothing of is handed over."""
    before = net.counters()["events"]["fragment"]
    for host in TARGETS:
        for port in ("53", "54" if host == topology.SERVICE4 else "53"):
            done = net.run_in("client", sys.executable, os.path.join(NETNS, "fragment_client.py"), "eth0", host, port,
                              "8000", "20")
            assert done.stdout.strip() == "20", (host, port)
    assert net.counters()["events"]["fragment"] - before == 4 * 20 * 2 * 6


def test_flows_live_on_while_the_number_of_workers_changes(net):
    """2 -> 4 and 4 -> 2: the NICs take the new table, and flows stay with the worker that has them."""
    former, number = net.workers, 6 - net.workers
    keeper = Keeper(net)
    try:
        nothing_lost(keeper.tell("open", 40, 10), 100)
        before = net.counters()
        net.change_workers(number)
        nothing_lost(keeper.tell("open", 40, 10), 200)
        nothing_lost(keeper.rounds(2), 200)
    finally:
        keeper.end()
    status, after, log = net.status(), net.counters(), net.log("dataplane")
    assert [worker["state"] for worker in status["workers"]] == ["running"] * number + ["leaving"] * (former - number)
    assert status["former_workers"] == 1 and status["flows_handed"] > 0
    assert after["events"]["handoff"] > before["events"]["handoff"]
    created = [worker["events"]["flow_created"] for worker in after["workers"]]
    for i, worker in enumerate(before["workers"]):
        created[i] -= worker["events"]["flow_created"]
    # Each worker of the new number, and no other.
    assert all(created[:number]) and not any(created[number:]), created
    assert "in software" not in log and after["events"]["affinity_miss"] == 0, log
    if net.checks_all:
        received = sum(worker["events"]["affinity_checked"] for worker in after["workers"])
        assert received > before["events"]["affinity_checked"] + 500
