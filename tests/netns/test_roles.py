# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Backups and a sorry backend take over and give back; a canary is moved and rolled back; no open flow moves."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import topology
from held import N_HELD, Held
from test_health import FAST, HERE, LOST_WITHIN_SEC, Dead, ill_file
from topology import answers, backend4, backends, wait_until

ROLES = {1: "active", 2: "backup", 3: "sorry"}


@pytest.fixture(scope="module")
def net(files):
    with topology.topology(root=files[0]) as net:
        three = [(f"{backend4(i)}:8080", 1) for i in (1, 2, 3)]
        net.write_config({
            "web": (f"{topology.SERVICE4}:80/tcp", three, {}, {"check": {"type": "http", "path": "/health", **FAST}}),
            "trial": (f"{topology.SERVICE4}:81/tcp", three),
        })
        net.start_sluice()
        for i, role in ROLES.items():
            net.sluice("backend", "set", "web", f"{backend4(i)}:8080", "role", role)
        net.sluice("backend", "set", "trial", f"{backend4(3)}:8080", "group", "v2")
        wait_health(net, {1: "up", 2: "up", 3: "up"})
        yield net


def wait_health(net, words):
    wait_until(lambda: f"{words}: {backends(net, 'web')}", 20,
               lambda: all(backends(net, "web")[i]["health"] == word for i, word in words.items()))


def wait_served(net, i, seconds):
    """Until a new connection to web is backend i's; how long it took."""
    start = time.monotonic()
    wait_until(lambda: f"backend {i} to serve: {backends(net, 'web')}", seconds, lambda: net.run_in(
        "client", "curl", "-s", "--max-time", "1", f"http://{topology.SERVICE4}/name", check=False).stdout == f"backend{i}\n")
    took = time.monotonic() - start
    # At once, but where a busy host has let a check of the others fail, or succeed late.
    wait_until(lambda: f"backend {i} alone to serve: {backends(net, 'web')}", 5, lambda: set(answers(net, 80, 40)) == {i})
    listed = backends(net, "web")
    assert [k for k in ROLES if listed[k]["in_use"]] == [k for k in ROLES if listed[k]["share"] > 0] == [i], listed
    return took


def test_backup_and_sorry_take_over_and_give_back(net, files):
    held, dead = [], {}

    def hold(i):
        held.append(Held(net, 80))
        assert held[-1].began == [i] * N_HELD, held[-1].began

    try:
        wait_served(net, 1, 5)
        for i in (1, 2):
            dead[i] = Dead(net, i)
            took = wait_served(net, i + 1, 20)
            print(f"backend {i + 1} serves after {took:.2f} s")
            assert took < LOST_WITHIN_SEC
            hold(i + 1)
        # The last resort, whatever its check says.
        open(ill_file(net, 3), "w").close()
        wait_health(net, {3: "down"})
        wait_until("the sorry backend to be used all the same", 10, lambda: backends(net, "web")[3]["check"]["panic"])
        wait_served(net, 3, 5)
        os.unlink(ill_file(net, 3))
        wait_health(net, {3: "up"})
        for i in (2, 1):
            dead.pop(i).mend(net, i, files[0])
            wait_served(net, i, 20)
            hold(i)
        # Those of the backup died with it once; those that came after, and the sorry one's, stay.
        assert [h.ask() for h in held[1:]] == [[3] * N_HELD, [2] * N_HELD, [1] * N_HELD]
        log = net.log("sluiced")
        for words in ("new flows go to its backup backends", "new flows go to its sorry backends",
                      "new flows go to its active backends again"):
            assert f"service web: {words}" in log, log
    finally:
        for one in held:
            one.close()
        for i in list(dead):
            dead[i].mend(net, i, files[0])
    wait_health(net, {1: "up", 2: "up", 3: "up"})


def test_who_serves_outlives_both_programs(net):
    open(ill_file(net, 1), "w").close()
    try:
        wait_served(net, 2, 20)
        generation = net.status()["dataplane_generation"]
        net.stop("sluiced", signal.SIGKILL)
        assert set(answers(net, 80, 10)) == {2}
        net.start_daemon()
        net.wait_in_step()
        wait_served(net, 2, 5)
        assert net.status()["dataplane_generation"] == generation, "nothing was pushed"
        net.stop("dataplane", signal.SIGKILL)
        net.start_dataplane()
        net.wait_in_step()
        wait_served(net, 2, 5)
    finally:
        os.unlink(ill_file(net, 1))
    wait_served(net, 1, 20)


def test_a_canary_is_moved_and_rolled_back_and_no_open_flow_moves(net):
    def move(*words):
        assert ", applied" in net.sluice("service", "set", "trial", *words).stdout

    move("canary", "group", "v2", "canary", "share_percent", "10")
    held = [Held(net, 81, 3 * N_HELD)]
    try:
        # 1,000 draws of 0.1: five standard deviations of 9.5 are 48.
        found = answers(net, 81, 1000)
        print(f"10 %: {found}")
        assert abs(found[3] - 100) < 48 and min(found[1], found[2]) > 370, found
        move("canary", "share_percent", "100")
        assert set(answers(net, 81, 200)) == {3}
        held.append(Held(net, 81))
        assert held[1].began == [3] * N_HELD
        move("canary", "share_percent", "0")
        assert set(answers(net, 81, 200)) == {1, 2}
        assert all(h.ask() == h.began for h in held)
        move("canary", "group", "none")
        assert set(answers(net, 81, 100)) == {1, 2, 3}
        assert all(h.ask() == h.began for h in held)
    finally:
        for one in held:
            one.close()
