# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Kept generations: what an apply replaced and made can be gone back to, whatever ends meanwhile."""

import os
import random
import threading
import time

import pytest

from sluice_api import Refused, Sluice, running
from test_api import (CONFLICT, DNS, NOT_FOUND, PARAMS, STORAGE, WEB, backends, names, refusal,
                      restart)

KEPT = 32


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


def web(weight):
    """The file's services, with another weight."""
    return WEB.replace("weight: 1}", f"weight: {weight}}}")


def apply(sluice, api, services):
    return api.call("config.apply", text=sluice.preamble() + services, file="x.yaml")


def kept(api):
    return {g["number"]: g for g in api.call("generation.list")["generations"]}


def state(api):
    """All that a rollback restores."""
    services = api.call("service.list")["services"]
    status = api.call("status")
    return ([(s["name"], s["address"], s["owner"], s["check"]["type"] if s.get("check") else None)
             for s in services],
            {s["name"]: backends(api, s["name"]) for s in services}, status["digest"])


def test_the_first_file_is_kept(api):
    generation = api.call("status")["generation"]
    answer = api.call("generation.list")
    assert answer["generation"] == generation and answer["limit"] == KEPT
    assert [(g["number"], g["origin"], g["current"], g["services"], g["backends"])
            for g in answer["generations"]] == [(generation, "file", True, 1, 2)]


def test_rollback_returns_to_services_owners_and_checks(sluice, api):
    api.call("service.add", name="mine", address="203.0.113.9:80/tcp", check={"type": "tcp"})
    api.call("backend.add", service="mine", address="10.0.9.9:80", weight=7, state="drain")
    before, was = state(api), api.call("status")["generation"]
    apply(sluice, api, web(9) + DNS)
    api.call("service.delete", name="mine")
    assert state(api) != before
    answer = api.call("config.rollback", generation=was)
    assert answer["applied"] and answer["kept"] and answer["generation"] > was + 2
    assert {c["text"].split()[0] + c["service"] for c in answer["changes"]} >= {"-dns", "+mine"}
    assert state(api) == before
    status = sluice.await_step(api)
    assert status["digest"] == status["dataplane_digest"]
    assert state(restart(sluice, "sluiced")) == before


def test_what_an_apply_replaces_is_kept_too(sluice, api):
    api.call("backend.add", service="web", address="10.0.0.9:8080")
    was = api.call("status")["generation"]
    assert was not in kept(api), "a change of one backend costs no copy of all"
    now = apply(sluice, api, DNS.replace("  - name", "services:\n  - name", 1))["generation"]
    assert kept(api)[was]["origin"] == "changes" and kept(api)[now]["origin"] == "apply"
    api.call("config.rollback", generation=was)
    assert "10.0.0.9:8080" in backends(api, "web") and names(api) == ["web"]
    api.call("config.rollback", generation=now)
    assert names(api) == ["dns"]


def test_a_rollback_is_a_generation_itself(sluice, api):
    first = api.call("status")["generation"]
    second = apply(sluice, api, web(2))["generation"]
    third = api.call("config.rollback", generation=first)["generation"]
    assert kept(api)[third]["origin"] == "rollback" and kept(api)[third]["current"]
    fourth = api.call("config.rollback", generation=second)["generation"]
    assert backends(api, "web")["10.0.0.2:8080"][0] == 2
    assert list(kept(api)) == [fourth, third, second, first]
    again = api.call("config.rollback", generation=second)
    assert again["n_changes"] == 0 and again["generation"] == fourth and "kept" not in again


def test_rollback_restores_the_hash_key(sluice, api):
    first, digest = api.call("status")["generation"], api.call("status")["digest"]
    apply(sluice, api, '  hash_key: "000102030405060708090a0b0c0d0e0f"\n' + WEB)
    assert api.call("status")["digest"] != digest
    api.call("config.rollback", generation=first)
    status = sluice.await_step(api)
    assert status["digest"] == status["dataplane_digest"] == digest


def test_rollback_judges_dry_and_by_generation(sluice, api):
    first = api.call("status")["generation"]
    second = apply(sluice, api, web(2))["generation"]
    files = sorted((sluice.state_dir / "generations").iterdir())
    answer = api.call("config.rollback", generation=first, dry_run=True)
    assert answer["n_changes"] == 1 and answer["dry_run"] and "kept" not in answer
    error = refusal(api.call, "config.rollback", generation=first, if_generation=first)
    assert error.code == CONFLICT and str(second) in error.message
    assert api.call("status")["generation"] == second
    assert backends(api, "web")["10.0.0.2:8080"][0] == 2
    assert sorted((sluice.state_dir / "generations").iterdir()) == files


def test_changes_by_hand_are_counted_shown_and_undone(sluice, api):
    first = api.call("status")["generation"]
    assert "current" not in api.call("generation.list"), "it is in the list"
    before = state(api)
    api.call("backend.set", service="web", address="10.0.0.2:8080", weight=7)
    api.call("backend.add", service="web", address="10.0.0.9:8080")
    listed = api.call("generation.list")
    assert listed["generation"] == first + 2 and listed["generations"][0]["number"] == first
    current = listed["current"]
    assert (current["since"], current["n_changes"], current["services"], current["backends"]) == (first, 2, 1, 3)
    assert current["made"] >= listed["generations"][0]["made"]
    shown = api.call("generation.diff", generation=first)
    assert (shown["generation"], shown["since"], shown["n_changes"]) == (first + 2, first, 2)
    assert [c["text"] for c in shown["changes"]] == ["~ backend web 10.0.0.2:8080 weight 1 -> 7",
                                                    "+ backend web 10.0.0.9:8080 weight 1 state ready"]
    # A sluiced that starts with them counts from the disk.
    api = restart(sluice, "sluiced")
    again = api.call("generation.list")["current"]
    assert (again["since"], again["n_changes"]) == (first, 2)
    undone = api.call("config.rollback", generation=first)
    assert undone["n_changes"] == 2 and state(api) == before
    assert api.call("generation.diff", generation=first)["n_changes"] == 0
    listed = api.call("generation.list")
    assert "current" not in listed and [(g["number"], g["origin"]) for g in listed["generations"]] == \
        [(undone["generation"], "rollback"), (first + 2, "changes"), (first, "file")]


def test_a_damaged_newest_is_not_counted_from(sluice, api):
    first = api.call("status")["generation"]
    second = apply(sluice, api, web(2))["generation"]
    restart(sluice, "sluiced")
    api = sluice.connect()
    path = sluice.state_dir / "generations" / str(second)
    path.write_bytes(path.read_bytes()[:-1])
    api.call("backend.set", service="web", address="10.0.0.2:8080", weight=7)
    current = api.call("generation.list")["current"]
    assert (current["since"], current["n_changes"]) == (first, 1)
    assert refusal(api.call, "generation.diff", generation=second).code == STORAGE
    assert refusal(api.call, "generation.diff", generation=999).code == NOT_FOUND


@pytest.mark.parametrize("value", [0, -1, "1", 1.5, None])
def test_a_number_that_is_none_is_refused(api, value):
    assert refusal(api.call, "config.rollback", generation=value).code == PARAMS


def test_a_generation_that_is_not_kept_is_refused_with_those_that_are(sluice, api):
    first = api.call("status")["generation"]
    second = apply(sluice, api, web(2))["generation"]
    error = refusal(api.call, "config.rollback", generation=999)
    assert error.code == NOT_FOUND and error.data["value"] == "999"
    assert error.message == f"generation 999: is not kept; kept are: {first}, {second}"


def test_the_last_32_are_kept(sluice, api):
    made = [apply(sluice, api, web(n + 2))["generation"] for n in range(KEPT + 5)]
    assert list(kept(api)) == made[::-1][:KEPT]
    assert len(list((sluice.state_dir / "generations").iterdir())) == KEPT
    error = refusal(api.call, "config.rollback", generation=made[0])
    assert error.code == NOT_FOUND and f"{made[5]}, {made[6]}" in error.message
    api.call("config.rollback", generation=made[5])
    assert backends(api, "web")["10.0.0.2:8080"][0] == 7


def test_what_is_kept_is_bounded_in_bytes(sluice, api):
    made = [apply(sluice, api, web(n + 2))["generation"] for n in range(5)]
    for number in made[:2]:
        os.truncate(sluice.state_dir / "generations" / str(number), 200 << 20)  # sparse
    last = apply(sluice, api, web(9))["generation"]
    assert list(kept(api)) == [last, *made[:0:-1]]
    for number in made[3:]:
        os.truncate(sluice.state_dir / "generations" / str(number), 300 << 20)
    assert list(kept(api))[:2] == [last, made[4]]
    again = apply(sluice, api, web(10))["generation"]
    assert list(kept(api)) == [again, last], "the newest two stay"


def test_damaged_ones_are_told_and_passed_over(sluice, api):
    first = api.call("status")["generation"]
    made = [apply(sluice, api, web(n + 2))["generation"] for n in range(5)]
    before = state(api)
    folder = sluice.state_dir / "generations"
    whole = (folder / str(made[0])).read_bytes()
    (folder / str(made[0])).write_bytes(whole[:-10])
    (folder / str(made[1])).write_bytes(b"")
    (folder / str(made[2])).write_bytes(whole)  # another's
    broken = (folder / str(made[3])).read_bytes().replace(b"10.0.0.2", b"10.0.0.7")
    (folder / str(made[3])).write_bytes(broken)  # as long as before
    (folder / "7x").write_text("somebody's")
    (folder / "007").write_text("somebody's")
    listed = kept(api)
    assert list(listed) == made[::-1] + [first]
    assert "not as long" in listed[made[0]]["damage"]
    assert all("first line" in listed[made[n]]["damage"] for n in (1, 2))
    for number in made[:4]:
        error = refusal(api.call, "config.rollback", generation=number)
        assert error.code == STORAGE and f"generation {number}: damaged" in error.message
    assert state(api) == before
    api.call("config.rollback", generation=first)
    assert backends(api, "web")["10.0.0.2:8080"][0] == 1


def test_a_folder_that_fails_costs_the_way_back_and_not_the_apply(sluice, api):
    folder = sluice.state_dir / "generations"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("no folder")
    answer = apply(sluice, api, web(2))
    assert answer["applied"] and answer["kept"] is False
    assert "cannot be gone back to" in sluice.log.read_text()
    assert refusal(api.call, "generation.list").code == STORAGE
    folder.unlink()
    assert apply(sluice, api, web(3))["kept"] is True
    assert len(kept(api)) == 2, "what was replaced could not be kept when it was made"


def test_acknowledged_generations_survive_kills(sluice):
    acknowledged = {}
    stop = threading.Event()

    def change():
        weight = 1
        while not stop.is_set():
            try:
                connection = sluice.connect()
                while not stop.is_set():
                    weight = weight % 60000 + 1
                    answer = apply(sluice, connection, web(weight))
                    if answer["n_changes"]:
                        acknowledged[answer["generation"]] = weight
            except (OSError, AssertionError, ConnectionError, TimeoutError, Refused):
                pass

    writer = threading.Thread(target=change)
    writer.start()
    chance = random.Random(11)
    for _ in range(10):
        time.sleep(chance.uniform(0.02, 0.15))
        sluice.kill("sluiced")
        sluice.start_daemon()
    end = time.monotonic() + 20
    while len(acknowledged) <= KEPT and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    writer.join()
    api = sluice.connect()
    sluice.await_step(api)
    listed = kept(api)
    # One more where the end came between the new one and the oldest.
    assert len(listed) <= KEPT + 1 and not [g for g in listed.values() if "damage" in g]
    recent = [number for number in sorted(acknowledged) if number >= min(listed)]
    assert len(recent) > 5 and not [n for n in recent if n not in listed]
    for number in recent[-5:]:
        api.call("config.rollback", generation=number)
        assert backends(api, "web")["10.0.0.2:8080"][0] == acknowledged[number]
