# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""New flows of clients of some prefixes go to a group of real servers alone, moved and rolled back in one command."""
import os

import pytest

import topology
from held import N_HELD, Held
from test_health import ill_file
from topology import backend4, backend6, service4, wait_until

WEB, TURN, LEAST, STICK, LIMIT = range(80, 85)
INSIDE4 = [f"10.90.1.{i}" for i in (64, 97, 127)]
OUTSIDE4 = [f"10.90.1.{i}" for i in (63, 128, 200)]
INSIDE6 = [f"2001:db8:1::c:{i}" for i in ("0", "7", "ffff")]
OUTSIDE6 = ["2001:db8:1::b:ffff", "2001:db8:1::d:0"]
SOURCES = "10.90.1.64/26,2001:db8:1::c:0/112"
# Ill is who says so; a busy host takes its time.
PATIENT = {"interval_ms": 1000, "fast_interval_ms": 200, "timeout_ms": 1000, "fall": 3, "rise": 1, "hold_down_ms": 0}
NAMES = {"web": WEB, "turn": TURN, "least": LEAST, "stick": STICK, "limit": LIMIT}


@pytest.fixture(scope="module")
def net(files):
    with topology.topology("vdev", workers=2, root=files[0]) as net:
        net.write_config({
            "web": service4(WEB, check={"type": "http", "path": "/health", **PATIENT}),
            "turn": service4(TURN, scheduler="round_robin"), "least": service4(LEAST, scheduler="least_connections"),
            "stick": service4(STICK, affinity={"timeout": 300}), "limit": service4(LIMIT),
            "web6": (f"[{topology.SERVICE6}]:80/tcp", [(f"[{backend6(i)}]:8080", 1) for i in (1, 2, 3)]),
        })
        net.start_sluice()
        net.add_clients(INSIDE4 + OUTSIDE4 + INSIDE6 + OUTSIDE6)
        for name in NAMES:
            net.sluice("backend", "set", name, f"{backend4(3)}:8080", "group", "v2")
        net.sluice("backend", "set", "web6", f"[{backend6(3)}]:8080", "group", "v2")
        wait_until("the checks", 20, lambda: all(b["health"] == "up" for b in topology.backends(net, "web").values()))
        yield net


def served(net, port, clients, each=10):
    """The numbers of the backends that answer `each` new connections of each of these clients; none may fail."""
    service = topology.SERVICE6 if ":" in clients[0] else topology.SERVICE4
    url = f"http://[{service}]:{port}/name" if ":" in service else f"http://{service}:{port}/name"
    found = []
    for client in clients:
        # One process, and a connection for each URL.
        done = net.run_in("client", "curl", "-sS", "-g", "--max-time", "20", "--no-keepalive", "-H", "Connection: close",
                          "--interface", client, *[url] * each)
        found += [int(name.removeprefix("backend")) for name in done.stdout.split()]
    assert len(found) == each * len(clients), found
    return set(found)


def move(net, name, *words):
    assert ", applied" in net.sluice("service", "set", name, *words).stdout


def begin(net, name):
    move(net, name, "canary", "group", "v2", "canary", "sources", SOURCES)


def end(net, name):
    move(net, name, "canary", "group", "none")


def explained(net, client, port=WEB):
    told = net.json("explain", "tcp", f"{client}:4000", f"{topology.SERVICE4}:{port}")
    return told["backend"], {step["step"]: step["text"] for step in told["steps"]}


def test_clients_are_moved_and_rolled_back_and_no_open_flow_moves(net):
    before = Held(net, WEB, 3 * N_HELD, INSIDE4[0])
    held = [before]
    try:
        assert set(before.began) == {1, 2, 3}
        begin(net, "web")
        assert served(net, WEB, INSIDE4) == {3}
        assert served(net, WEB, OUTSIDE4, 30) == {1, 2}, "its share of all others' is 0"
        held.append(Held(net, WEB, N_HELD, INSIDE4[1]))
        held.append(Held(net, WEB, N_HELD, OUTSIDE4[0]))
        assert held[1].began == [3] * N_HELD and 3 not in held[2].began
        backend, steps = explained(net, INSIDE4[2])
        assert backend == f"{backend4(3)}:8080" and "one of its sources" in steps["canary"], steps
        backend, steps = explained(net, OUTSIDE4[0])
        assert backend != f"{backend4(3)}:8080" and "none of its sources" in steps["canary"], steps
        listed = topology.backends(net, "web")
        assert listed[3]["in_use"] and listed[3]["slots"] == 0, "in use for its clients, with no slot of the others'"
        # Both at once, then the share alone.
        move(net, "web", "canary", "share_percent", "100")
        assert served(net, WEB, OUTSIDE4) == served(net, WEB, INSIDE4) == {3}
        move(net, "web", "canary", "share_percent", "0")
        move(net, "web", "canary", "sources", "none")
        assert served(net, WEB, INSIDE4, 30) == {1, 2}
        assert all(one.ask() == one.began for one in held)
        end(net, "web")
        assert served(net, WEB, INSIDE4, 30) == {1, 2, 3}
        assert all(one.ask() == one.began for one in held)
    finally:
        for one in held:
            one.close()


def test_ipv6(net):
    begin(net, "web6")
    assert served(net, 80, INSIDE6) == {3}
    assert served(net, 80, OUTSIDE6, 30) == {1, 2}
    move(net, "web6", "canary", "sources", "none")
    assert served(net, 80, INSIDE6, 30) == {1, 2}
    end(net, "web6")


def test_a_group_that_is_down_leaves_its_clients_to_the_others(net):
    begin(net, "web")
    assert served(net, WEB, INSIDE4) == {3}
    with open(ill_file(net, 3), "w"):
        pass
    try:
        wait_until("the group to be down", 20, lambda: topology.backends(net, "web")[3]["health"] == "down")
        assert served(net, WEB, INSIDE4, 30) == {1, 2}
        assert "none of its group takes new flows" in explained(net, INSIDE4[0])[1]["canary"]
    finally:
        os.unlink(ill_file(net, 3))
    wait_until("the group to be up", 20, lambda: topology.backends(net, "web")[3]["health"] == "up")
    assert served(net, WEB, INSIDE4) == {3}
    net.sluice("backend", "set", "web", f"{backend4(3)}:8080", "state", "drain")
    assert served(net, WEB, INSIDE4, 30) == {1, 2}
    net.sluice("backend", "set", "web", f"{backend4(3)}:8080", "state", "ready")
    end(net, "web")


def test_schedulers_choose_among_the_group(net):
    for name in ("turn", "least"):
        net.sluice("backend", "set", name, f"{backend4(2)}:8080", "group", "v2")
        begin(net, name)
        assert served(net, NAMES[name], INSIDE4, 20) == {2, 3}
        assert served(net, NAMES[name], OUTSIDE4) == {1}
    held = Held(net, TURN, 8, INSIDE4[0])
    other = Held(net, TURN, 8, OUTSIDE4[0])
    try:
        # Turns of the one kind of clients take none of the others'; each worker counts its own.
        assert abs(held.began.count(2) - held.began.count(3)) <= 2, held.began
        assert other.began == [1] * 8
    finally:
        held.close()
        other.close()


def test_who_has_as_many_flows_as_it_may_leaves_new_ones_to_the_others(net):
    net.sluice("backend", "set", "limit", f"{backend4(3)}:8080", "max_flows", "6")
    begin(net, "limit")
    held = []
    try:
        held.append(Held(net, LIMIT, 6, INSIDE4[0]))
        assert held[0].began == [3] * 6
        held.append(Held(net, LIMIT, N_HELD, INSIDE4[1]))
        assert 3 not in held[1].began and set(held[1].began) <= {1, 2}, held[1].began
        assert "has no room: as all clients" in net.sluice(
            "explain", "tcp", f"{INSIDE4[0]}:4000", f"{topology.SERVICE4}:{LIMIT}").stdout
        assert all(one.ask() == one.began for one in held)
    finally:
        for one in held:
            one.close()


def test_clients_that_keep_their_backend_keep_one_of_the_group(net):
    kept = {client: served(net, STICK, [client]) for client in INSIDE4 + OUTSIDE4}
    assert all(len(numbers) == 1 for numbers in kept.values())
    begin(net, "stick")
    assert served(net, STICK, INSIDE4) == {3}, "an entry of another backend does not hold"
    assert all(served(net, STICK, [client]) == kept[client] for client in OUTSIDE4 if kept[client] != {3})
    move(net, "stick", "canary", "sources", "none")
    assert served(net, STICK, INSIDE4) <= {1, 2}, "nor does one of the group, which has no share"


def test_sources_outlive_both_programs(net):
    begin(net, "web")
    try:
        net.stop("sluiced")
        net.stop("dataplane")
        net.start_sluice()
        assert net.json("service", "show", "web")["service"]["canary"] == {
            "group": "v2", "share_percent": 0, "sources": SOURCES.split(",")}
        wait_until("the checks", 20, lambda: all(b["health"] == "up" for b in topology.backends(net, "web").values()))
        assert served(net, WEB, INSIDE4) == {3}
        assert served(net, WEB, OUTSIDE4, 30) == {1, 2}
    finally:
        end(net, "web")
