# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The number of workers changes under flows that live on: none is lost, and none comes to another
backend."""
import os

import pytest

import topology
from keeper import Keeper

KIND = "vdev"
MAX_WORKERS = 4
TIMEOUTS = {"transitory": 1, "udp": 5}


@pytest.fixture
def keeper(net):
    keeper = Keeper(net)
    yield keeper
    keeper.end()


def states(net):
    """Of all workers that there may be."""
    known = [worker["state"] for worker in net.status()["workers"]]
    return known + ["parked"] * (MAX_WORKERS - len(known))


@pytest.fixture
def one_worker(net):
    """One worker that has all flows; what another test left is over."""
    net.change_workers(1)
    topology.wait_until("flows of former tests to time out", 60, lambda: net.status()["former_workers"] == 0)
    topology.wait_until("workers to be parked", 10, lambda: states(net) == ["running"] + ["parked"] * 3)


def cores_of_others(net):
    """Of each thread of sluice-dpdk that is ours and no worker: the cores it may use."""
    tasks = f"/proc/{net.processes['dataplane'].pid}/task"
    found = {}
    for task in os.listdir(tasks):
        with open(os.path.join(tasks, task, "comm")) as file:
            name = file.read().strip()
        if not name.startswith(("rte-", "rte_", "eal-", "lcore-")):
            found[task] = os.sched_getaffinity(int(task))
    return found


def nothing_lost(result, flows):
    assert result["lost"] == result["moved"] == 0 and result["flows"] == flows, result


def test_flows_live_on_while_the_number_goes_1_2_4_1(net, one_worker, keeper):
    before = net.counters()
    assert net.status()["max_workers"] == MAX_WORKERS
    nothing_lost(keeper.tell("open", 100, 50), 300)
    for number, n_flows in ((2, 400), (4, 500), (1, 600)):
        net.change_workers(number)
        nothing_lost(keeper.rounds(3), n_flows - 100)
        nothing_lost(keeper.tell("open", 40, 10), n_flows)
    nothing_lost(keeper.rounds(3), 600)
    status = net.status()
    assert states(net) == ["running", "leaving", "leaving", "leaving"]
    # Where the first number had flows, the last one has them, too: that one is forgotten.
    assert status["former_workers"] == 2 and 0 < status["flows_handed"] < 600, status
    # Whoever was there took new flows; one worker has the latest to itself.
    created = [worker["events"]["flow_created"] for worker in net.counters()["workers"]]
    assert all(n > 10 for n in created), created
    after = net.counters()
    assert after["events"]["flow_created"] - before["events"]["flow_created"] == 600
    assert after["events"]["handoff"] - before["events"]["handoff"] > 1000
    assert after["verdicts"]["drop_handoff_full"] == 0
    assert "flows served as 2 former numbers" in net.sluice("status").stdout


def test_a_fourth_number_is_refused_while_flows_of_three_former_ones_live(net, one_worker, keeper):
    nothing_lost(keeper.tell("open", 50, 0), 100)
    for number, n_flows in ((2, 200), (4, 300), (3, 400)):
        net.change_workers(number)
        nothing_lost(keeper.tell("open", 50, 0), n_flows)
    net.change_workers(2, "flows are still served as 3 former numbers of workers had them (limit 3)")
    assert states(net) == ["running", "running", "running", "leaving"]
    nothing_lost(keeper.rounds(2), 400)
    nothing_lost(keeper.tell("close", 400), 0)
    topology.wait_until("the flows to be gone", 60, lambda: net.status()["former_workers"] == 0)
    net.change_workers(1)
    topology.wait_until("the flows to be gone", 60, lambda: net.status()["former_workers"] == 0)
    topology.wait_until("workers to be parked", 10, lambda: states(net) == ["running", "parked", "parked", "parked"])
    loops = [worker["loops"] for worker in net.status()["workers"]]
    topology.wait_until("the running worker to turn", 10, lambda: net.status()["workers"][0]["loops"] > loops[0])
    assert [worker["loops"] for worker in net.status()["workers"]][1:] == loops[1:]


def test_parked_workers_run_again(net, one_worker, keeper):
    net.change_workers(3)
    before = net.counters()["workers"]
    nothing_lost(keeper.tell("open", 50, 10), 120)
    nothing_lost(keeper.rounds(2), 120)
    assert states(net) == ["running"] * 3 + ["parked"]
    for old, new in zip(before[:3], net.counters()["workers"]):
        assert new["events"]["flow_created"] > old["events"]["flow_created"], (old, new)


def test_more_workers_than_were_set_up_are_refused(net):
    before = net.workers, states(net)
    net.change_workers(5, "dataplane.workers: 5 (limit 4: the cores and queues set up at the start")
    assert before == (net.workers, states(net))
    net.change_workers(net.workers, f"dataplane.workers is {net.workers} as before")


def test_what_needs_a_restart_is_named(net):
    net.flows *= 2
    net.change_workers(net.workers, "dataplane.flows has changed: needs a restart")
    net.flows //= 2
    net.change_workers(net.workers, "as before")


def test_what_only_waits_keeps_off_the_workers_cores(net, one_worker):
    allowed = os.sched_getaffinity(0)
    worker = net.status()["workers"][0]["core"]
    assert len(allowed) > 1 and worker in allowed
    others = cores_of_others(net)
    assert len(others) >= 2, others  # the control thread and the one between ports and TAPs
    assert all(cores == allowed - {worker} for cores in others.values()), (worker, others)
    net.change_workers(2)
    taken = {worker["core"] for worker in net.status()["workers"][:2]}
    rest = allowed - taken or allowed  # where none is left, they are anywhere
    assert all(cores == rest for cores in cores_of_others(net).values()), (taken, cores_of_others(net))


def test_the_longest_turn_of_each_loop_is_told(net):
    status = net.status()
    assert all(0 < worker["longest_loop_us"] < 10_000_000 for worker in status["workers"] if worker["state"] == "running")
    assert "LONGEST-LOOP-US" in net.sluice("status").stdout
