# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""events.subscribe and `sluice events`, against sluiced with the memory dataplane."""

import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from sluice_api import Refused, Sluice, find_program, running

WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    backends: [{address: "10.0.0.2:8080"}, {address: "10.0.0.3:8080"}]
"""
PARAMS = -32602
KEPT = 4096


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


class Subscriber:
    """A connection that is told; `answer` is what subscribing was answered."""

    def __init__(self, sluice, **params):
        self.connection = sluice.connect()
        self.answer = self.connection.call("events.subscribe", **params)

    def next(self):
        line = self.connection.line()
        assert line is not None, "closed"
        assert line["jsonrpc"] == "2.0" and line["method"] == "event" and "id" not in line
        return line["params"]

    def until(self, type, **members):
        """The first event of `type` with these members, and all before it."""
        before = []
        while True:
            event = self.next()
            before.append(event)
            if event["type"] == type and all(event[name] == value for name, value in members.items()):
                return event, before


def drain(api, state, address="10.0.0.2:8080"):
    return api.call("backend.set", service="web", address=address, state=state)


def test_change_is_told_to_all_who_subscribed(sluice):
    api = sluice.connect()
    subscribers = [Subscriber(sluice), Subscriber(sluice)]
    generation = drain(api, "drain")["generation"]
    for subscriber in subscribers:
        last = subscriber.answer["last"]
        first, second = subscriber.next(), subscriber.next()
        assert {**first, "time": None} == {"sequence": last + 1, "time": None, "type": "configuration",
                                           "generation": generation, "n_changes": 1, "applied": True}
        assert {**second, "time": None} == {"sequence": last + 2, "time": None, "type": "backend.state",
                                            "service": "web", "backend": "10.0.0.2:8080", "was": "ready",
                                            "is": "drain"}
        assert first["time"] <= second["time"] and second["time"].endswith("Z")


def test_what_changes_nothing_is_no_event(sluice):
    api, subscriber = sluice.connect(), Subscriber(sluice)
    api.call("backend.set", service="web", address="10.0.0.2:8080", state="maint", dry_run=True)
    drain(api, "ready")  # as it is
    with pytest.raises(Refused):
        drain(api, "drain", "10.0.0.9:1")
    drain(api, "drain")
    assert subscriber.next()["type"] == "configuration"
    assert subscriber.next()["is"] == "drain"


def test_connection_may_be_used_for_calls_and_subscribed_anew(sluice):
    subscriber = Subscriber(sluice, types=["backend.state"])
    assert subscriber.answer["types"] == ["backend.state"]
    generation = drain(subscriber.connection, "drain")["generation"]
    assert subscriber.next()["is"] == "drain"
    assert subscriber.connection.call("status")["generation"] == generation
    subscriber.connection.call("events.subscribe", types=["configuration"])
    drain(subscriber.connection, "ready")
    assert subscriber.next()["type"] == "configuration"


def test_what_was_before_is_told_by_its_number(sluice):
    api = sluice.connect()
    for state in ("drain", "ready", "maint"):
        drain(api, state)
    everything = Subscriber(sluice, since=0)
    last = everything.answer["last"]
    assert everything.answer["first"] == 1
    told = [everything.next() for _ in range(last)]
    assert [event["sequence"] for event in told] == list(range(1, last + 1))
    assert {"dataplane.connected", "dataplane.in_step", "configuration", "backend.state"} <= {e["type"] for e in told}
    rest = Subscriber(sluice, since=last - 2, instance=everything.answer["instance"])
    assert [rest.next(), rest.next()] == told[-2:]
    # Numbers of another sluiced mean nothing here.
    other = Subscriber(sluice, since=last - 2, instance="f00d")
    assert other.answer["since"] == 0 and other.next() == told[0]


@pytest.mark.parametrize("params, words", [
    ({"since": -1}, ["since", "-1"]),
    ({"since": "7"}, ["since", "integer"]),
    ({"since": 1 << 40}, ["since is 1099511627776", "the last event is"]),
    ({"types": []}, ["types", "0"]),
    ({"types": "backend.state"}, ["types", "array"]),
    ({"types": [7]}, ["types", "string"]),
    ({"types": ["backend.state", "backend"]}, ["types", '"backend"', "no such events"]),
    ({"types": ["overrun"] * 12}, ["types", "12"]),
    ({"instance": ""}, ["instance", "0"]),
    ({"instance": "0" * 17}, ["instance", "17"]),
    ({"until": 7}, ["until", "known are"]),
])
def test_malformed_subscriptions_are_refused_and_tell_nothing(sluice, params, words):
    api = sluice.connect()
    with pytest.raises(Refused) as refused:
        api.call("events.subscribe", **params)
    assert refused.value.code == PARAMS and all(word in refused.value.message for word in words), refused.value.message
    drain(sluice.connect(), "drain")
    assert api.call("status")["services"] == 1  # the next line is the answer, and no event


def test_dataplane_that_goes_and_comes_back_is_told(sluice):
    subscriber = Subscriber(sluice)
    sluice.kill("sluice-memory")
    lost, _ = subscriber.until("dataplane.lost")
    assert lost["reason"]
    sluice.start_dataplane()
    connected, _ = subscriber.until("dataplane.connected")
    assert (connected["engine"], connected["pid"]) == ("memory", sluice.programs["sluice-memory"].pid)
    step, _ = subscriber.until("dataplane.in_step")
    assert step["generation"] == sluice.connect().call("status")["dataplane_generation"]


def test_health_is_told_with_its_reason(tmp_path):
    sluice = Sluice(tmp_path)
    program = tmp_path / "check"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    sluice.config.write_text("health: {exec: true}\n" + sluice.preamble() + WEB.replace(
        "    backends", "    check: {type: exec, command: %s, interval_ms: 50, rise: 1, fall: 1, hold_down_ms: 0}\n"
        "    backends" % program))
    with running(sluice):
        subscriber = Subscriber(sluice, since=0)
        down, _ = subscriber.until("backend.health", backend="10.0.0.2:8080", **{"is": "down"})
        assert down["service"] == "web" and "1" in down["reason"]
        subscriber.until("service.panic", service="web", **{"is": True})
        program.write_text("#!/bin/sh\nexit 0\n")
        up, _ = subscriber.until("backend.health", **{"is": "up"})
        assert up["reason"] == ""


def test_a_reason_that_is_cut_within_a_character_is_told(tmp_path):
    sluice = Sluice(tmp_path)
    sluice.config.write_text("health: {exec: true}\n" + sluice.preamble() + WEB.replace(
        "    backends", "    check: {type: exec, command: /%s, interval_ms: 50, rise: 1, fall: 1, hold_down_ms: 0}\n"
        "    backends" % ("\u00e4" * 60)), encoding="utf-8")
    with running(sluice):
        subscriber = Subscriber(sluice, since=0)
        down, _ = subscriber.until("backend.health", backend="10.0.0.2:8080", **{"is": "down"})
        assert "\u00e4?: No such file" in down["reason"]
        listed = {b["address"]: b for b in sluice.connect().call("backend.list")["backends"]}
        assert listed["10.0.0.2:8080"]["check"]["reason"] == down["reason"]


def test_whose_turn_it_is_is_told(tmp_path):
    sluice = Sluice(tmp_path)
    program = tmp_path / "check"
    program.write_text("#!/bin/sh\n[ $SLUICE_ADDRESS != 10.0.0.2 ]\n")
    program.chmod(0o755)
    sluice.config.write_text("health: {exec: true}\n" + sluice.preamble() + WEB.replace(
        "    backends", "    check: {type: exec, command: %s, interval_ms: 50, rise: 1, fall: 1, hold_down_ms: 0}\n"
        "    backends" % program).replace('{address: "10.0.0.3:8080"}', '{address: "10.0.0.3:8080", role: backup}'))
    with running(sluice):
        subscriber = Subscriber(sluice, since=0)
        subscriber.until("service.role", service="web", **{"is": "backup"})
        program.write_text("#!/bin/sh\nexit 0\n")
        subscriber.until("service.role", service="web", **{"is": "active"})


def test_slow_subscriber_is_told_how_many_it_missed_and_holds_up_nobody(tmp_path):
    """Each turn changes 1,000 states; who reads none of it loses what is no longer kept."""
    def text(state):
        lines = ["services:", "  - name: web", "    address: 203.0.113.10:80/tcp", "    slots: 100003", "    backends:"]
        return "\n".join(lines + [f"      - {{address: '10.0.{i // 250}.{i % 250 + 1}:80', state: {state}}}"
                                  for i in range(1000)]) + "\n"
    sluice = Sluice(tmp_path, text("ready"))
    with running(sluice):
        slow, quick = Subscriber(sluice), Subscriber(sluice)
        seen = []
        n_turns = 9
        reader = threading.Thread(target=lambda: seen.extend(quick.next() for _ in range(1001 * n_turns)))
        reader.start()
        api = sluice.connect()
        for turn in range(n_turns):
            changed = api.call("config.apply", text=sluice.preamble() + text(("drain", "ready")[turn % 2]))
            assert changed["n_changes"] == 1000
            # Quick is who keeps up, however busy the machine: within half of what is kept.
            end = time.monotonic() + 30
            while len(seen) < 1001 * (turn + 1) - KEPT // 2 and time.monotonic() < end:
                time.sleep(0.01)
        reader.join(timeout=60)
        start, last = quick.answer["last"], quick.answer["last"] + 1001 * n_turns
        assert [event["sequence"] for event in seen] == list(range(start + 1, last + 1))
        overrun, before = slow.until("overrun")
        assert overrun["lost"] > 0
        # What came, what was lost and what follows are all that there was.
        assert [event["sequence"] for event in before[:-1]] == list(range(start + 1, start + len(before)))
        assert overrun["sequence"] == start + len(before) - 1 + overrun["lost"]
        rest = [slow.next() for _ in range(last - overrun["sequence"])]
        assert [event["sequence"] for event in rest] == list(range(overrun["sequence"] + 1, last + 1))
        # Who asks for what is too old is told at once.
        late = Subscriber(sluice, since=start)
        assert late.answer["first"] == last - KEPT + 1
        assert (late.next()["lost"], late.next()["sequence"]) == (last - KEPT - start, last - KEPT + 1)


def test_read_only_group_may_subscribe():
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        sluice = Sluice(pathlib.Path(folder), WEB)
        sluice.config.write_text("api: {read_only_group: nogroup}\n" + sluice.config.read_text())
        script = ("import json, socket, sys\n"
                  "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')\n"
                  "for line in ('events.subscribe', {}), ('backend.set', {'service': 'web', 'address': '10.0.0.2:8080', "
                  "'state': 'maint'}):\n"
                  "    f.write(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': line[0], 'params': line[1]}) + '\\n')\n"
                  "    f.flush(); print(f.readline(), end='', flush=True)\n"
                  "print(f.readline(), end='', flush=True)\n")
        with running(sluice):
            reader = subprocess.Popen(["/usr/bin/python3", "-c", script, sluice.run_dir / "control.sock"], text=True,
                                      stdout=subprocess.PIPE, user="nobody", group="nogroup", extra_groups=[])
            assert "instance" in json.loads(reader.stdout.readline())["result"]
            assert "only read" in json.loads(reader.stdout.readline())["error"]["message"]
            drain(sluice.connect(), "drain")
            assert json.loads(reader.stdout.readline())["params"]["type"] == "configuration"
            assert reader.wait(timeout=20) == 0


# The command

def follow(sluice, *words):
    return subprocess.Popen([find_program("sluice"), "-s", sluice.run_dir / "control.sock", *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_command_prints_lines(sluice):
    api = sluice.connect()
    drain(api, "drain")
    last = Subscriber(sluice).answer["last"]
    done = follow(sluice, "-j", "events", "since", str(last - 2), "count", "2")
    out, err = done.communicate(timeout=20)
    assert (done.returncode, err) == (0, "")
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [last - 1, last]
    out, err = follow(sluice, "events", "since", "0", "type", "backend.state", "count", "1").communicate(timeout=20)
    assert out.split(" ", 1)[1] == "backend.state service web, backend 10.0.0.2:8080, was ready, is drain\n" and not err
    wrong = follow(sluice, "events", "type", "backend")
    assert "no such events" in wrong.communicate(timeout=20)[1] and wrong.returncode == 1


def test_command_waits_for_a_daemon_that_has_gone(sluice):
    done = follow(sluice, "-j", "events", "type", "dataplane.connected", "type", "configuration")
    try:
        api = sluice.connect()
        for state in ("drain", "ready") * 500:  # until it has subscribed
            drain(api, state)
            if select.select([done.stdout], [], [], 0.02)[0]:
                break
        assert json.loads(done.stdout.readline())["type"] == "configuration"
        sluice.kill("sluiced", signal.SIGTERM)
        assert "waiting for it" in done.stderr.readline()
        sluice.start_daemon()
        while json.loads(done.stdout.readline())["type"] != "dataplane.connected":
            pass
    finally:
        done.kill()
        done.communicate()


def test_command_without_a_daemon_is_not_connected(tmp_path):
    done = follow(Sluice(tmp_path), "events")
    assert "connect" in done.communicate(timeout=20)[1] and done.returncode == 3
