# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""A plan speaks the truth: flows are kept open, a change is planned, then applied; what became of each flow is
what the plan said. In this order, for a backend that comes back from maintenance has its old flows again."""
import collections
import copy

import pytest

import topology
from keeper import Keeper

N_EACH = 12  # flows to each of four services
TIMEOUTS = {"embryonic": 1, "transitory": 1}
ALL = ("web", "web6", "echo", "echo6")


@pytest.fixture(scope="module")
def keeper(net):
    keeper = Keeper(net)
    yield keeper
    keeper.end()


@pytest.fixture
def former(net):
    """The services as they were, which are so again afterwards."""
    services = copy.deepcopy(net.services)
    yield services
    net.write_config(services)
    net.sluice("apply", net.config)


def flows_of(net):
    return [(name, flow) for name in ALL
            for flow in net.json("flow", "list", "service", name, "limit", "10000")["flows"] if flow["state"] != "closed"]


def fill(net, keeper):
    """Connections in place of those that were lost; and what clients sent into those is over for the dataplane, too."""
    n_missing = (4 * N_EACH - keeper.tell("go")["flows"]) // 2
    n_kept = keeper.tell("open", n_missing, 0)["flows"] if n_missing else keeper.tell("go")["flows"]

    def is_settled():
        flows = flows_of(net)
        return len(flows) == n_kept and not [flow for _, flow in flows if flow["state"] == "embryonic"]

    # A kernel says goodbye on a lost connection again and again, each time later, and each makes a flow for a while.
    topology.wait_until(lambda: f"the flows to be the {n_kept} that are kept: {flows_of(net)}", 30, is_settled)
    return keeper.tell("go")


def write(net, change, state=None):
    """The configuration with `change` made to the backends of each service; `state`: of backend 2."""
    services = copy.deepcopy(net.services)
    for name, (address, backends, *more) in services.items():
        services[name] = (address, change(backends), *more)
    net.write_config(services)
    if state:
        with open(net.config) as file:
            lines = file.read().split("\n")
        lines = [line.replace("}", f", state: {state}}}") if any(b in line for b in (
            f"{topology.backend4(2)}:", f"[{topology.backend6(2)}]:")) else line for line in lines]
        with open(net.config, "w") as file:
            file.write("\n".join(lines))


def seen(net):
    status = net.status()
    return [status[key] for key in ("generation", "digest", "dataplane_digest", "dataplane_generation", "in_step")]


def slots(net):
    return {(b["service"], b["address"]): b["slots"] for b in net.json("backend", "list")["backends"]}


def plan_of_what_stands_still(net, n_kept):
    """A plan, and how many flows each backend had; of a moment in which there were those that are kept, and none changed."""
    def states():
        return sorted((name, flow["client"], flow["backend"], flow["state"]) for name, flow in flows_of(net))

    told = []

    def stands_still():
        before = states()
        told[:] = [net.json("plan", net.config), before]
        return len(before) == n_kept and states() == before

    topology.wait_until(lambda: f"the {n_kept} flows that are kept to stand still: {told}", 30, stands_still)
    plan, flows = told
    return plan, collections.Counter((name, backend) for name, _, backend, _ in flows)


def compare(net, keeper, ends):
    """Plans what is written, applies it, and compares flow by flow and slot by slot. `ends`: whether it ends any."""
    before, was = fill(net, keeper), seen(net)
    plan, had = plan_of_what_stands_still(net, before["flows"])
    assert plan["counted"] and seen(net) == was
    unchanged = keeper.tell("go")
    assert [unchanged[k] - before[k] for k in ("flows", "lost", "moved")] == [0, 0, 0], unchanged
    said = {(s["name"], b["address"]): b for s in plan["services"] for b in s["backend"]}
    flows = {key: b["flows"]["stay"] + b["flows"]["reset"] + b["flows"]["move"] for key, b in said.items()}
    assert flows == {key: had[key] for key in flows}
    slots_before = slots(net)
    net.sluice("apply", net.config)
    slots_after = slots(net)
    for key, backend in said.items():
        assert (backend["slots"]["now"], backend["slots"]["after"]) == (
            slots_before.get(key, 0), slots_after.get(key, 0)), key
    after = keeper.tell("go")
    lost, moved = after["lost"] - before["lost"], after["moved"] - before["moved"]
    assert (lost, moved) == (plan["flows"]["reset"], plan["flows"]["move"]), (plan["flows"], after["why"])
    assert after["flows"] - moved == plan["flows"]["stay"], (plan["flows"], after)
    assert bool(lost) == bool(moved) == ends, "the test tells nothing"
    kinds = {w["kind"] for w in plan["warnings"]}
    assert ("reset" in kinds) == ends
    return plan


def test_without_a_change_all_stay(net, keeper):
    keeper.tell("open", N_EACH, N_EACH)
    plan = net.json("plan", net.config)
    assert plan["flows"] == {"stay": 4 * N_EACH, "reset": 0, "move": 0, "off_pool": 0}
    assert plan["services"] == [] and plan["n_changes"] == 0


def test_other_weights_end_nothing(net, keeper, former):
    write(net, lambda backends: [(address, 5 - weight) for address, weight in backends])
    plan = compare(net, keeper, False)
    assert plan["slots"]["moved"] > 0


def test_draining_ends_nothing(net, keeper, former):
    write(net, lambda backends: backends, "drain")
    compare(net, keeper, False)


def test_a_deleted_backends_connections_end_and_its_datagrams_move(net, keeper, former):
    write(net, lambda backends: backends[:-1])
    plan = compare(net, keeper, True)
    assert {b["change"] for s in plan["services"] for b in s["backend"]} == {"same", "delete"}


def test_a_rollback_brings_it_back_and_ends_nothing(net, keeper):
    generations = net.json("generation", "list")["generations"]
    before = fill(net, keeper)
    net.sluice("rollback", str(generations[1]["number"]))
    after = keeper.tell("go")
    assert after["lost"] - before["lost"] > 0, "the backend was deleted again"
    before = fill(net, keeper)
    net.sluice("rollback", str(generations[0]["number"]))
    after = keeper.tell("go")
    assert (after["lost"], after["moved"]) == (before["lost"], before["moved"])
    assert net.json("plan", net.config)["n_changes"] == 0


def test_in_maintenance_connections_end_and_datagrams_move(net, keeper, former):
    write(net, lambda backends: backends, "maint")
    compare(net, keeper, True)
