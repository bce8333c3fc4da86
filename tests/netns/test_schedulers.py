# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Each scheduler with real servers, and a limit of flows; what is changed under open connections moves none."""
import collections
import json

import pytest

import topology
from held import Held
from topology import answers, backend4, backends

TURN, WEIGHTED, LEAST, ORIGIN, LIMIT = range(80, 85)
CLIENTS = [f"{topology.CLIENT4.rsplit('.', 1)[0]}.{i}" for i in range(100, 124)]


@pytest.fixture(scope="module")
def net(files):
    def service(port, scheduler, weights=(1, 1, 1)):
        return topology.service4(port, weights, scheduler=scheduler)

    with topology.topology(root=files[0]) as net:
        net.write_config({"turn": service(TURN, "round_robin"), "weighted": service(WEIGHTED, "round_robin", (3, 1, 1)),
                          "least": service(LEAST, "least_connections"), "origin": service(ORIGIN, "source_hash"),
                          "limit": service(LIMIT, "maglev")})
        net.start_sluice()
        net.add_clients(CLIENTS)
        yield net


def counted(held):
    return collections.Counter(backend for one in held for backend in one.began)


def explain(net, port):
    told = json.loads(net.sluice("-j", "explain", "tcp", "198.51.100.9:4000", f"{topology.SERVICE4}:{port}").stdout)
    return told, {step["step"]: step["text"] for step in told["steps"]}


def test_round_robin_gives_everybody_a_turn(net):
    assert answers(net, TURN, 60) == {1: 20, 2: 20, 3: 20}
    assert answers(net, WEIGHTED, 50) == {1: 30, 2: 10, 3: 10}
    net.sluice("backend", "set", "turn", f"{backend4(2)}:8080", "state", "drain")
    assert answers(net, TURN, 40) == {1: 20, 3: 20}
    net.sluice("backend", "set", "turn", f"{backend4(2)}:8080", "state", "ready")
    assert answers(net, TURN, 60) == {1: 20, 2: 20, 3: 20}


def test_least_connections_fills_up_who_has_least(net):
    held = [Held(net, LEAST, 12)]
    try:
        assert counted(held) == {1: 4, 2: 4, 3: 4}
        net.sluice("backend", "set", "least", f"{backend4(3)}:8080", "state", "drain")
        held.append(Held(net, LEAST, 6))
        assert counted(held) == {1: 7, 2: 7, 3: 4}
        net.sluice("backend", "set", "least", f"{backend4(1)}:8080", "weight", "2")
        told, step = explain(net, LEAST)
        assert told["backend"] == f"{backend4(1)}:8080" and "7 flows, weight 2" in step["scheduler"]
        net.sluice("backend", "set", "least", f"{backend4(1)}:8080", "weight", "1")
        net.sluice("backend", "set", "least", f"{backend4(3)}:8080", "state", "ready")
        held.append(Held(net, LEAST, 6))
        assert counted(held) == {1: 8, 2: 8, 3: 8}
        net.sluice("backend", "set", "least", f"{backend4(1)}:8080", "weight", "3")
        held.append(Held(net, LEAST, 16))
        assert counted(held) == {1: 24, 2: 8, 3: 8}
        assert all(one.ask() == one.began for one in held)
    finally:
        for one in held:
            one.close()


def test_source_hash_keeps_a_client_with_its_backend(net):
    def served(address):
        return net.run_in("client", "curl", "-s", "--max-time", "5", "--interface", address,
                          f"http://{topology.SERVICE4}:{ORIGIN}/name").stdout

    first = {address: served(address) for address in CLIENTS}
    assert len(set(first.values())) == 3, first
    assert {address: served(address) for address in CLIENTS} == first
    assert len(answers(net, ORIGIN, 60)) == 1
    # A backend that leaves and comes back moves its own clients alone, and gets them back.
    net.sluice("backend", "set", "origin", f"{backend4(2)}:8080", "state", "drain")
    without = {address: served(address) for address in CLIENTS}
    assert all(without[a] == first[a] for a in CLIENTS if first[a] != "backend2\n") and "backend2\n" not in without.values()
    net.sluice("backend", "set", "origin", f"{backend4(2)}:8080", "state", "ready")
    assert {address: served(address) for address in CLIENTS} == first


def test_a_full_backend_gets_nothing_new_and_keeps_what_it_has(net):
    for i in (1, 2, 3):
        net.sluice("backend", "set", "limit", f"{backend4(i)}:8080", "max_flows", "4")
    held = [Held(net, LIMIT, 12)]
    try:
        assert counted(held) == {1: 4, 2: 4, 3: 4}
        before = net.counters()
        refused = net.run_in("client", "curl", "-s", "--max-time", "5", f"http://{topology.SERVICE4}:{LIMIT}/name", check=False)
        assert refused.returncode == 7, "connection refused, at once"
        after = net.counters()
        assert after["verdicts"]["drop_backends_full"] - before["verdicts"]["drop_backends_full"] == 1
        assert after["events"]["backend_full"] > before["events"]["backend_full"]
        assert "4/4" in net.sluice("backend", "list", "limit").stdout
        assert all(b["max_flows"] == 4 for b in backends(net, "limit").values())
        told, step = explain(net, LIMIT)
        assert told["verdict"] == "drop_backends_full" and told["backend"] is None
        assert "has 4 flows of at most 4" in step["scheduler"] and "backend" not in step
        assert held[0].ask() == held[0].began
        # Room in one: all that is new goes there.
        net.sluice("backend", "set", "limit", f"{backend4(2)}:8080", "max_flows", "0")
        told, step = explain(net, LIMIT)
        assert (told["verdict"], told["backend"]) == ("forward", f"{backend4(2)}:8080"), step
        assert set(answers(net, LIMIT, 20)) == {2}
        assert held[0].ask() == held[0].began
    finally:
        held[0].close()


def test_connections_that_have_ended_do_not_count_for_the_limit(net):
    for i in (1, 2, 3):
        net.sluice("backend", "set", "limit", f"{backend4(i)}:8080", "max_flows", "2")
    topology.wait_until("no open flows", 5, lambda: all(b["counters"]["flows_open"] == 0 for b in backends(net, "limit").values()))
    before = net.counters()["verdicts"]["drop_backends_full"]
    for _ in range(20):
        assert sum(answers(net, LIMIT, 1).values()) == 1
        topology.wait_until("no open flows", 5, lambda: all(b["counters"]["flows_open"] == 0 for b in backends(net, "limit").values()))
    assert net.counters()["verdicts"]["drop_backends_full"] == before
    listed = backends(net, "limit").values()
    assert sum(b["counters"]["flows"] - b["counters"]["flows_ended"] for b in listed) >= 20, "they are in the table still"
    assert "0/2" in net.sluice("backend", "list", "limit").stdout
