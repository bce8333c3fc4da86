# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Roles, groups and canaries, as the API, the file, the state and the dataplane's slots have them; needs no root."""

import json
import subprocess

import pytest

from sluice_api import Refused, Sluice, find_program, running

SLOTS = 65537
WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    canary: {group: v2, share_percent: 5}
    backends:
      - {address: 10.0.0.2:8080}
      - {address: 10.0.0.3:8080, weight: 3}
      - {address: 10.0.0.4:8080, group: v2}
      - {address: 10.0.0.5:8080, role: backup}
      - {address: 10.0.0.6:8080, role: sorry}
"""


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


def slots(api, service="app"):
    """Of each backend, by the last number of its address; and whether it is said to be in use."""
    found = {}
    for backend in api.call("backend.list", service=service)["backends"]:
        number = int(backend["address"].split(":")[0].split(".")[-1])
        found[number] = backend["slots"]
        assert backend["in_use"] == (backend["slots"] > 0), backend
    return found


def make_app(api, **backends):
    """A service of the API; backends b2=..., whose number is their address."""
    api.call("service.add", name="app", address="203.0.113.11:80/tcp")
    for name, members in backends.items():
        api.call("backend.add", service="app", address=f"10.0.1.{name[1:]}:80", **members)


def set_canary(api, **members):
    return api.call("service.set", name="app", canary=members)


def near(value, wanted):
    return abs(value - wanted) <= 2


def test_the_file_says_who_has_which_share(api):
    found = slots(api, "web")
    assert near(found[4], SLOTS * 0.05) and found[5] == found[6] == 0, found
    assert near(found[3], SLOTS * 0.95 * 0.75) and sum(found.values()) == SLOTS, found
    assert api.call("service.show", name="web")["service"]["canary"] == {"group": "v2", "share_percent": 5}
    listed = {b["address"]: b for b in api.call("backend.list", service="web")["backends"]}
    assert listed["10.0.0.5:8080"]["role"] == "backup" and "group" not in listed["10.0.0.5:8080"]
    assert listed["10.0.0.4:8080"]["role"] == "active" and listed["10.0.0.4:8080"]["group"] == "v2"
    assert listed["10.0.0.4:8080"]["weight"] == 1, "what was asked for stays as it was"


@pytest.mark.parametrize("percent", [0, 0.1, 0.5, 5, 12.34, 50, 99.9, 100])
def test_a_group_has_its_share_of_the_slots(api, percent):
    make_app(api, b2={}, b3={}, b4={"weight": 9}, b5={"group": "v2", "weight": 7}, b6={"group": "v2"})
    set_canary(api, group="v2", share_percent=percent)
    found = slots(api)
    assert near(found[5] + found[6], SLOTS * percent / 100), found
    assert all((found[i] > 0) == (percent < 100) for i in (2, 3, 4)), found
    assert all((found[i] > 0) == (percent > 0) for i in (5, 6)), found


def test_a_canary_is_moved_in_one_call_and_ended_in_one(api):
    make_app(api, b2={}, b3={}, b4={"group": "v2"})
    before = slots(api)
    answer = set_canary(api, group="v2", share_percent=5)
    assert answer["applied"] and [change["text"] for change in answer["changes"]] == [
        "~ service app canary.group none -> v2 canary.share_percent 5"]
    assert near(slots(api)[4], SLOTS * 0.05)
    answer = set_canary(api, share_percent=20)
    assert answer["changes"][0]["fields"] == {"canary.share_percent": {"old": "5", "new": "20"}}
    assert near(slots(api)[4], SLOTS * 0.2)
    assert set_canary(api, share_percent=20)["n_changes"] == 0
    answer = set_canary(api, group="none")
    assert answer["changes"][0]["text"] == "~ service app canary.group v2 -> none"
    assert slots(api) == before
    assert "canary" not in api.call("service.show", name="app")["service"]


def test_sources_are_moved_in_one_call_and_rolled_back_in_one(api):
    make_app(api, b2={}, b3={}, b4={"group": "v2"})
    before = slots(api)

    def shown():
        return api.call("service.show", name="app")["service"].get("canary")

    def listed():
        return next(s for s in api.call("service.list")["services"] if s["name"] == "app")

    answer = set_canary(api, group="v2", sources=["2001:db8::/32", "10.1.0.0/16"])
    assert answer["applied"] and answer["changes"][0]["text"] == (
        "~ service app canary.group none -> v2 canary.share_percent 0 canary.sources none -> 2 prefixes")
    assert answer["changes"][0]["fields"]["canary.sources"] == {"added": ["10.1.0.0/16", "2001:db8::/32"], "removed": []}
    assert shown() == {"group": "v2", "share_percent": 0, "sources": ["10.1.0.0/16", "2001:db8::/32"]}
    assert listed()["canary"] == {"group": "v2", "share_percent": 0} and listed()["canary_sources"] == 2
    assert listed()["denies"] == 0
    found = {b["address"]: b for b in api.call("backend.list", service="app")["backends"]}
    assert found["10.0.1.4:80"]["slots"] == 0 and found["10.0.1.4:80"]["in_use"], "for its clients alone"
    assert explained(api, "10.1.2.3") == 4 and explained(api, "10.2.0.0") in (2, 3)
    assert set_canary(api, sources=["10.1.0.0/16", "2001:db8::/32"])["n_changes"] == 0
    answer = set_canary(api, sources=["10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"])
    assert answer["changes"][0]["text"] == "~ service app canary.sources 2 prefixes -> 3 prefixes (+2 -1)"
    assert explained(api, "10.4.2.3") == 4
    answer = set_canary(api, share_percent=20)
    assert list(answer["changes"][0]["fields"]) == ["canary.share_percent"] and len(shown()["sources"]) == 3
    answer = set_canary(api, sources=[], share_percent=0)
    assert answer["changes"][0]["text"] == "~ service app canary.share_percent 20 -> 0 canary.sources 3 prefixes -> none"
    assert explained(api, "10.1.2.3") in (2, 3) and shown() == {"group": "v2", "share_percent": 0}
    set_canary(api, sources=["10.1.0.0/16"])
    answer = set_canary(api, group="none")
    assert answer["changes"][0]["text"] == "~ service app canary.group v2 -> none canary.sources 1 prefix -> none"
    assert shown() is None and slots(api) == before and listed()["canary_sources"] == 0


def explained(api, client):
    """The number of the backend that a new flow of @client gets."""
    told = api.call("explain", protocol="tcp", source=f"{client}:1234", destination="203.0.113.11:80")
    return int(told["backend"].split(":")[0].split(".")[-1])


def test_clients_of_sources_go_where_others_go_while_nobody_of_the_group_can(api):
    make_app(api, b2={}, b3={"group": "v2"}, b4={"role": "backup", "group": "v2"})
    set_canary(api, group="v2", sources=["10.1.0.0/16"])
    assert explained(api, "10.1.2.3") == 3
    for number, state, wanted in ((3, "drain", 2), (2, "drain", 4), (2, "ready", 2), (3, "ready", 3), (3, "maint", 2)):
        api.call("backend.set", service="app", address=f"10.0.1.{number}:80", state=state)
        assert explained(api, "10.1.2.3") == wanted, (number, state)


def test_sources_are_planned(api):
    plan = api.call("config.plan", text=WEB.replace("share_percent: 5", "share_percent: 5, sources: [10.1.0.0/16]"))
    assert [change["text"] for change in plan["changes"]] == ["~ service web canary.sources none -> 1 prefix"], plan
    moved, = plan["services"]
    assert moved["name"] == "web" and moved["slots"]["moved"] == 0, "nobody else's new flows go elsewhere"
    assert "sources" not in api.call("service.show", name="web")["service"]["canary"]


def test_a_canary_of_the_file_is_moved_by_hand_until_the_file_is_applied(sluice, api):
    assert api.call("service.set", name="web", canary={"share_percent": 50})["applied"]
    assert near(slots(api, "web")[4], SLOTS * 0.5)
    with pytest.raises(Refused, match="owned by the file"):
        api.call("service.set", name="web", canary={"share_percent": 60}, flow_log=True)
    with pytest.raises(Refused, match="no such service"):
        api.call("service.set", name="nobody", canary={"share_percent": 60})
    api.call("config.apply", text=sluice.config.read_text(), file=str(sluice.config))
    assert near(slots(api, "web")[4], SLOTS * 0.05)


def test_a_side_that_cannot_be_used_leaves_its_share_to_the_other(api):
    make_app(api, b2={}, b3={"group": "v2"}, b4={"role": "backup"})
    set_canary(api, group="v2", share_percent=5)

    def set_state(number, state):
        api.call("backend.set", service="app", address=f"10.0.1.{number}:80", state=state)

    set_state(3, "drain")
    assert slots(api) == {2: SLOTS, 3: 0, 4: 0}
    set_state(3, "ready")
    set_state(2, "drain")
    assert slots(api) == {2: 0, 3: SLOTS, 4: 0}
    set_state(3, "maint")
    assert slots(api) == {2: 0, 3: 0, 4: SLOTS}
    set_state(2, "ready")
    assert slots(api) == {2: SLOTS, 3: 0, 4: 0}


def test_roles_take_their_turn(api):
    make_app(api, b2={}, b3={"role": "backup", "weight": 3}, b4={"role": "backup"}, b5={"role": "sorry"})
    assert slots(api) == {2: SLOTS, 3: 0, 4: 0, 5: 0}
    api.call("backend.set", service="app", address="10.0.1.2:80", weight=0)
    found = slots(api)
    assert near(found[3], SLOTS * 0.75) and near(found[4], SLOTS * 0.25) and found[5] == 0, found
    for number in (3, 4):
        api.call("backend.set", service="app", address=f"10.0.1.{number}:80", state="drain")
    assert slots(api) == {2: 0, 3: 0, 4: 0, 5: SLOTS}
    answer = api.call("backend.set", service="app", address="10.0.1.5:80", role="active")
    assert answer["changes"][0]["text"] == "~ backend app 10.0.1.5:80 role sorry -> active"
    api.call("backend.set", service="app", address="10.0.1.2:80", weight=1)
    found = slots(api)
    assert near(found[2], SLOTS / 2) and near(found[5], SLOTS / 2), found


def test_what_was_said_survives_both_programs(sluice, api):
    make_app(api, b2={}, b3={"group": "v2", "role": "active"}, b4={"role": "sorry", "group": "v3"})
    set_canary(api, group="v2", share_percent=12.34, sources=["10.1.0.0/16", "2001:db8::/32"])
    listed, text = api.call("backend.list")["backends"], api.call("config.export")["text"]
    before = sluice.await_step(api)
    sluice.kill("sluiced")
    sluice.start_daemon()
    api = sluice.connect()
    after = sluice.await_step(api)
    assert after["dataplane_generation"] == before["dataplane_generation"], "nothing was pushed"
    assert after["digest"] == before["digest"]
    assert api.call("backend.list")["backends"] == listed
    assert api.call("config.export")["text"] == text
    sluice.kill("sluice-memory")
    sluice.start_dataplane()
    sluice.await_step(api)
    assert near(slots(api)[3], SLOTS * 0.1234) and slots(api)[4] == 0 and explained(api, "10.1.2.3") == 3
    assert near(slots(api, "web")[4], SLOTS * 0.05) and slots(api, "web")[5] == 0


def test_a_daemon_that_comes_first_pushes_shares(tmp_path):
    """Without a change, and without a dataplane that remembers any."""
    with running(Sluice(tmp_path, WEB)) as instance:
        instance.kill("sluiced")
        instance.kill("sluice-memory")
        instance.start_daemon()
        connection = instance.connect()
        instance.start_dataplane()
        instance.await_step(connection)
        assert slots(connection, "web")[5] == 0
        connection.close()


def test_an_export_is_applied_to_the_same(sluice, api):
    text = api.call("config.export")["text"]
    assert "share_percent: 5" in text and "role: backup" in text and 'group: "v2"' in text
    assert api.call("config.diff", text=text)["n_changes"] == 0
    api.call("service.set", name="web", canary={"sources": ["10.1.0.0/16", "2001:db8::/32"]})
    moved = api.call("config.export")["text"]
    assert 'canary: {group: "v2", share_percent: 5, sources: ["10.1.0.0/16", "2001:db8::/32"]}' in moved, moved
    assert api.call("config.diff", text=moved)["n_changes"] == 0
    assert [change["text"] for change in api.call("config.diff", text=text)["changes"]] == [
        "~ service web canary.sources 2 prefixes -> none"]
    api.call("service.set", name="web", canary={"sources": []})
    found = api.call("config.diff", text=text.replace("share_percent: 5", "share_percent: 50"))
    assert [change["text"] for change in found["changes"]] == ["~ service web canary.share_percent 5 -> 50"]
    sluice.write_services(WEB.replace("share_percent: 5", "share_percent: 100"))
    api.call("config.apply", text=sluice.config.read_text(), file=str(sluice.config))
    assert slots(api, "web")[4] == SLOTS


@pytest.mark.parametrize("canary, words", [
    ({"group": "v3", "share_percent": 5}, ["service app", "canary.group v3", "no backend has this group"]),
    ({"group": "v2"}, ["canary.share_percent", "missing"]),
    ({"share_percent": 5}, ["canary.group", "missing"]),
    ({}, ["canary.group", "missing"]),
    ({"group": "none", "share_percent": 5}, ["canary.group", "missing"]),
    ({"group": "v 2", "share_percent": 5}, ["canary.group"]),
    ({"group": "v" * 64, "share_percent": 5}, ["canary.group", "64", "63"]),
    ({"group": "v2", "share_percent": 100.01}, ["canary.share_percent", "100.01", "0..100"]),
    ({"group": "v2", "share_percent": -0.01}, ["canary.share_percent", "-0.01", "0..100"]),
    ({"group": "v2", "share_percent": 0.125}, ["canary.share_percent", "two decimals"]),
    ({"group": "v2", "share_percent": "5"}, ["canary.share_percent", "string", "number"]),
    ({"group": "v2", "share_percent": True}, ["canary.share_percent", "boolean", "number"]),
    ({"group": "v2", "weight": 5}, ["canary.weight", "known are"]),
    ({"sources": ["10.1.0.0/16"]}, ["canary.group", "missing", "sources"]),
    ({"sources": []}, ["canary.group", "missing"]),
    ({"group": "none", "sources": ["10.1.0.0/16"]}, ["canary.group", "missing", "sources"]),
    ({"group": "v2", "sources": []}, ["canary.share_percent", "missing", "sources"]),
    ({"group": "v2", "sources": "10.1.0.0/16"}, ["canary.sources", "string", "array"]),
    ({"group": "v2", "sources": [5]}, ["canary.sources[0]", "integer", "string"]),
    ({"group": "v2", "sources": ["10.1.0.1/16"]}, ["service app", "canary.sources 10.1.0.1/16", "bits beyond"]),
    ({"group": "v2", "sources": ["2001:db8::/129"]}, ["canary.sources 2001:db8::/129", "0..128"]),
    ({"group": "v2", "sources": ["::/0", "10.1.0.0/16", "::/0"]}, ["canary.sources ::/0", "twice"]),
    ({"group": "v2", "sources": [f"10.0.{i >> 8}.{i & 255}" for i in range(1025)]}, ["canary.sources", "1025", "0..1024"]),
    ("v2", ["canary", "object"]),
])
def test_what_is_wrong_with_a_canary_is_named(api, canary, words):
    make_app(api, b2={}, b3={"group": "v2"})
    with pytest.raises(Refused) as caught:
        api.call("service.set", name="app", canary=canary)
    assert all(word in caught.value.message for word in words), json.dumps(caught.value.message)
    assert "canary" not in api.call("service.show", name="app")["service"]


def test_the_last_backend_of_a_canary_stays(api):
    make_app(api, b2={}, b3={"group": "v2"})
    set_canary(api, group="v2", share_percent=5)
    for method, members in (("backend.delete", {}), ("backend.set", {"group": "none"}), ("backend.set", {"group": "v3"})):
        with pytest.raises(Refused, match="10.0.1.3:80: is the last one of group v2.*service set app canary group none"):
            api.call(method, service="app", address="10.0.1.3:80", **members)
    api.call("backend.add", service="app", address="10.0.1.4:80", group="v2")
    api.call("backend.delete", service="app", address="10.0.1.3:80")
    assert near(slots(api)[4], SLOTS * 0.05)


@pytest.mark.parametrize("members, words", [
    ({"role": "spare"}, ["role", "spare", "active|backup|sorry"]),
    ({"group": "v 2"}, ["backend 10.0.1.3:80", "group", "v 2"]),
    ({"group": ""}, ["group", "1..63"]),
    ({"group": 2}, ["group", "integer", "string"]),
])
def test_what_is_wrong_with_a_backend_is_named(api, members, words):
    make_app(api, b2={})
    with pytest.raises(Refused) as caught:
        api.call("backend.add", service="app", address="10.0.1.3:80", **members)
    assert all(word in caught.value.message for word in words), json.dumps(caught.value.message)


def test_a_dry_run_changes_no_share(api):
    make_app(api, b2={}, b3={"group": "v2"})
    before = slots(api)
    answer = api.call("service.set", name="app", canary={"group": "v2", "share_percent": 1}, dry_run=True)
    assert answer["n_changes"] == 1 and slots(api) == before


def test_the_command_line_moves_and_shows_a_canary(sluice, api):
    make_app(api, b2={}, b3={})

    def run(*words):
        command = [find_program("sluice"), "-s", str(sluice.run_dir / "control.sock"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "ROLE" not in run("backend", "list", "app").stdout
    assert run("backend", "add", "app", "10.0.1.4:80", "group", "v2").returncode == 0
    assert run("backend", "add", "app", "10.0.1.5:80", "role", "sorry").returncode == 0
    done = run("service", "set", "app", "canary", "group", "v2", "canary", "share_percent", "0.5")
    assert done.stdout.startswith("~ service app canary.group none -> v2 canary.share_percent 0.5\n"), done
    text = run("service", "show", "app").stdout
    assert "canary        group v2 has 0.5 % of new flows\n" in text and "ROLE" in text, text
    assert run("service", "set", "app", "canary", "sources", "10.1.0.0/16,2001:db8::/32").returncode == 0
    text = run("service", "show", "app").stdout
    assert ("canary        group v2 has 0.5 % of new flows, and those of its sources\n"
            "sources       10.1.0.0/16, 2001:db8::/32\n") in text, text
    assert run("service", "set", "app", "canary", "sources", "none").stdout.startswith(
        "~ service app canary.sources 2 prefixes -> none\n")
    rows = [line.split() for line in run("backend", "list", "app").stdout.splitlines()]
    column = {name: rows[0].index(name) for name in ("ROLE", "GROUP", "IN-USE", "SHARE")}
    assert [[row[at] for at in column.values()] for row in rows[3:]] == [
        ["active", "v2", "yes", "0.50%"], ["sorry", "-", "no", "0.00%"]], rows
    # Rolled back, it may be waited for until its flows are over, of which there are none.
    waiting = ("backend", "wait", "app", "10.0.1.4:80", "timeout", "10")
    assert "it takes new flows" in run(*waiting).stderr
    assert run("service", "set", "app", "canary", "share_percent", "0").returncode == 0
    assert run(*waiting).stdout == "app: 10.0.1.4:80: drained\n"
    assert run("service", "set", "app", "canary", "group", "none").returncode == 0
    refused = run("service", "set", "app", "canary", "group", "v9", "canary", "share_percent", "1")
    assert refused.returncode == 1 and "service app: canary.group v9: no backend" in refused.stderr, refused
    assert run("service", "set", "app", "canary", "share_percent", "many").returncode == 2
