# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Clients keep their backend, with real servers and two workers, whatever becomes of weights and the others."""
import pytest

import topology
from held import Held
from topology import answers, backend4, wait_until

STICK, NETWORK, SHORT = range(80, 83)
CLIENTS = [f"{topology.CLIENT4.rsplit('.', 1)[0]}.{i}" for i in range(100, 112)]


@pytest.fixture(scope="module")
def net(files):
    def service(port, affinity):
        return topology.service4(port, scheduler="round_robin", affinity=affinity)

    with topology.topology("vdev", workers=2, root=files[0]) as net:
        net.write_config({"stick": service(STICK, {"timeout": 300}), "network": service(NETWORK, {"timeout": 300, "prefix": 24}),
                          "short": service(SHORT, {"timeout": 2})})
        net.start_sluice()
        net.add_clients(CLIENTS)
        yield net


def served(net, port, address):
    """The number of the backend that answers a new connection of this client."""
    name = net.run_in("client", "curl", "-s", "--max-time", "5", "--interface", address,
                      f"http://{topology.SERVICE4}:{port}/name").stdout
    return int(name.strip().removeprefix("backend"))


def events(net):
    return {name: n for name, n in net.counters()["events"].items() if name.startswith("affinity_")}


def grown(net, before):
    return {name: n - before[name] for name, n in events(net).items() if n != before[name]}


def kept_by(net, port, count):
    """The one backend that has all of these new connections."""
    found = answers(net, port, count)
    assert len(found) == 1, found
    return next(iter(found))


def entries(net, service):
    return {row["service"]: row["entries"] for row in net.json("affinity", "list", service)["affinities"]}[service]


def set_backend(net, service, i, *words):
    net.sluice("backend", "set", service, f"{backend4(i)}:8080", *words)


def test_a_client_keeps_its_backend_while_the_others_come_and_go(net):
    before = events(net)
    mine = kept_by(net, STICK, 20)
    other, third = (i for i in (1, 2, 3) if i != mine)
    set_backend(net, "stick", other, "weight", "200")
    assert kept_by(net, STICK, 20) == mine
    net.sluice("backend", "delete", "stick", f"{backend4(third)}:8080")
    assert kept_by(net, STICK, 20) == mine
    net.sluice("backend", "add", "stick", f"{backend4(third)}:8080", "weight", "7")
    assert kept_by(net, STICK, 20) == mine
    set_backend(net, "stick", mine, "weight", "3")
    assert kept_by(net, STICK, 20) == mine
    assert grown(net, before) == {"affinity_made": 1, "affinity_kept": 99}
    for i in (1, 2, 3):
        set_backend(net, "stick", i, "weight", "1")
    # Others are spread, and each keeps what it got.
    first = {address: served(net, STICK, address) for address in CLIENTS}
    assert len(set(first.values())) > 1, first
    assert {address: served(net, STICK, address) for address in CLIENTS} == first
    assert entries(net, "stick") == 1 + len(CLIENTS)


def test_a_leaving_backend_gives_its_clients_away_for_good(net):
    mine = kept_by(net, STICK, 5)
    set_backend(net, "stick", mine, "state", "drain")
    before = events(net)
    other = kept_by(net, STICK, 20)
    assert other != mine
    assert grown(net, before) == {"affinity_made": 1, "affinity_kept": 19}
    set_backend(net, "stick", mine, "state", "ready")
    assert kept_by(net, STICK, 20) == other
    # One that is full gives the new flow away, too: an open connection fills it.
    held = Held(net, STICK, 1)
    try:
        assert held.began == [other]
        set_backend(net, "stick", other, "max_flows", "1")
        assert kept_by(net, STICK, 5) != other
    finally:
        held.close()
    set_backend(net, "stick", other, "max_flows", "0")


def test_clients_of_a_prefix_keep_one_backend_together(net):
    mine = served(net, NETWORK, CLIENTS[0])
    assert {served(net, NETWORK, address) for address in CLIENTS} == {mine}
    assert kept_by(net, NETWORK, 20) == mine
    assert entries(net, "network") == 1


def test_what_is_not_used_for_its_time_is_forgotten(net):
    before = events(net)
    served(net, SHORT, CLIENTS[0])
    assert entries(net, "short") == 1
    wait_until("the entry to expire", 10, lambda: entries(net, "short") == 0)
    served(net, SHORT, CLIENTS[0])
    assert grown(net, before) == {"affinity_made": 2}


def test_entries_are_counted_explained_and_cleared(net):
    mine = kept_by(net, STICK, 3)
    n = entries(net, "stick")
    status = net.status()
    assert n < status["affinities"] <= status["affinities_capacity"] == 65536
    assert status["saturation"]["affinities"] < 0.01
    question = ("tcp", f"{topology.CLIENT4}:4000", f"{topology.SERVICE4}:{STICK}")
    explained = net.json("explain", *question)
    assert explained["backend"] == f"{backend4(mine)}:8080"
    told = {step["step"]: step["text"] for step in explained["steps"]}
    assert f"{topology.CLIENT4}/32 keeps {backend4(mine)}:8080 for another" in told["affinity"], told
    assert "scheduler" not in told
    assert net.json("affinity", "clear", "stick", "--dry-run")["entries"] == n == entries(net, "stick")
    assert net.json("affinity", "clear", "stick")["entries"] == n
    assert entries(net, "stick") == 0 and entries(net, "network") == 1
    told = {step["step"]: step["text"] for step in net.json("explain", *question)["steps"]}
    assert "keeps none" in told["affinity"] and "scheduler" in told
    before = events(net)
    kept_by(net, STICK, 5)
    assert grown(net, before) == {"affinity_made": 1, "affinity_kept": 4}


def restart(net):
    net.stop("dataplane")
    net.bring_dataplane_up()
    net.wait_in_step()


def test_entries_end_with_the_flow_tables_and_not_before(net):
    """With XDP both outlive the process; another size begins an empty table, and the flows stay."""
    mine = kept_by(net, STICK, 3)
    restart(net)
    before = events(net)
    after = kept_by(net, STICK, 3)
    if topology.ENGINE == "xdp":
        assert after == mine and grown(net, before) == {"affinity_kept": 3}
    else:
        assert grown(net, before) == {"affinity_made": 1, "affinity_kept": 2}
    net.more_config = ["  affinities: 1024"]
    net.write_config(net.services)
    restart(net)
    status, before = net.status(), events(net)
    assert status["affinities_capacity"] == 1024 and entries(net, "stick") == 0
    kept_by(net, STICK, 3)
    assert grown(net, before) == {"affinity_made": 1, "affinity_kept": 2}


def test_without_a_timeout_nobody_keeps_anything(net):
    export = net.sluice("export").stdout
    assert "affinity: {timeout: 300, prefix: 24}" in export
    with open(net.config) as file:
        text = file.read()
    with open(net.config + ".new", "w") as file:
        file.write(text.replace('"timeout": 300', '"timeout": 0'))
    changes = net.sluice("apply", net.config + ".new").stdout
    assert "affinity.timeout 300 -> 0" in changes
    before = events(net)
    assert len(answers(net, STICK, 30)) == 3
    assert grown(net, before) == {}
