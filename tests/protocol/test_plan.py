# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""config.plan: it says what config.apply then does, and changes nothing. On the memory engine."""

import random
import re
import socket
import struct
import time

import pytest

from sluice_api import Sluice, running
from test_api import (DNS, NOT_CONNECTED, PARAMS, REFUSED, WEB, backends, names, refusal)

FULLNAT = """  - name: api
    address: 203.0.113.11:443/tcp
    mode: fullnat
    source: [10.0.0.250]
    backends:
      - {address: 10.0.1.2:8443}
"""


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


def plan(sluice, api, services):
    return api.call("config.plan", text=sluice.preamble() + services, file="x.yaml")


def live(api):
    """All that a plan must leave as it is."""
    status = api.call("status")
    return ({k: status[k] for k in ("generation", "digest", "dataplane_digest", "in_step",
                                    "dataplane_generation", "services", "backends")},
            api.call("backend.list"), api.call("counters"))


def slots(api, service):
    return {b["address"]: b["slots"] for b in api.call("backend.list", service=service)["backends"]}


def warnings(answer):
    return {(w["kind"], w.get("service")) for w in answer["warnings"]}


def test_no_difference(sluice, api):
    answer = plan(sluice, api, WEB)
    assert answer["n_changes"] == 0 and answer["services"] == [] and answer["warnings"] == []
    assert answer["memory"]["now"] == answer["memory"]["after"] > 2 * 65537


def test_nothing_changes(sluice, api):
    before = live(api)
    files = {p: p.stat().st_mtime_ns for p in sluice.state_dir.rglob("*") if p.is_file()}
    for text in (WEB + DNS + FULLNAT, "services: []\n", WEB.replace("weight: 1", "weight: 5")):
        answer = plan(sluice, api, text)
        assert answer["n_changes"] > 0 and answer["services"]
        assert live(api) == before
    assert files == {p: p.stat().st_mtime_ns for p in sluice.state_dir.rglob("*") if p.is_file()}
    # The next changes are deltas as ever, each side knowing what the other has.
    api.call("backend.add", service="web", address="10.0.0.9:8080")
    status = sluice.await_step(api)
    assert status["generation"] == before[0]["generation"] + 1


def test_what_is_planned_is_what_apply_does(sluice, api):
    chance = random.Random(5)
    for _ in range(12):
        text = "services:\n  - name: web\n    address: 203.0.113.10:80/tcp\n    backends:\n"
        for n in chance.sample(range(2, 9), chance.randint(1, 6)):
            state = chance.choice(["ready", "ready", "drain", "maint"])
            text += (f"      - {{address: 10.0.0.{n}:8080, weight: {chance.randint(0, 3)},"
                     f" state: {state}}}\n")
        before = slots(api, "web")
        answer = plan(sluice, api, text)
        applied = api.call("config.apply", text=sluice.preamble() + text)
        assert answer["changes"] == applied["changes"]
        after = slots(api, "web")
        if not answer["services"]:
            assert before == after
            continue
        service = answer["services"][0]
        said = {b["address"]: b for b in service["backend"]}
        assert set(said) == set(before) | set(after)
        for address, backend in said.items():
            assert backend["slots"]["now"] == before.get(address, 0)
            assert backend["slots"]["after"] == after.get(address, 0)
            assert (backend["slots"]["now"] - backend["slots"]["left"]
                    == backend["slots"]["after"] - backend["slots"]["came"])
            assert backend["change"] == ("add" if address not in before else
                                         "delete" if address not in after else backend["change"])
        usable = sum(b["state"] == "ready" and b["weight"] > 0
                     for b in api.call("backend.list", service="web")["backends"])
        assert service["backends"]["usable_after"] == usable
        assert (("no_backend", "web") in warnings(answer)) == (usable == 0)


def test_services_that_come_and_go(sluice, api):
    answer = plan(sluice, api, DNS.replace("  - name", "services:\n  - name", 1) + FULLNAT)
    said = {s["name"]: s for s in answer["services"]}
    assert {n: s["change"] for n, s in said.items()} == {"web": "delete", "dns": "add", "api": "add"}
    assert said["web"]["slots"] == {"now": 65537, "after": 0, "moved": 0}
    assert said["dns"]["slots"] == {"now": 0, "after": 65537, "moved": 0}
    assert said["api"]["source_ports"] == {"now": 0, "after": 64512}
    assert answer["tables_built"] == 2 and answer["warnings"] == []


def test_warnings(sluice, api):
    answer = plan(sluice, api, WEB.replace("weight: 1}", "weight: 1, state: maint}")
                  .replace("weight: 2}", "weight: 0}"))
    assert warnings(answer) == {("no_backend", "web")}
    assert "0 of 2" in answer["warnings"][0]["text"]
    other = WEB.replace("10.0.0.2", "10.0.0.6").replace("10.0.0.3", "10.0.0.7")
    assert warnings(plan(sluice, api, other)) == {("churn", "web")}
    key = '  hash_key: "000102030405060708090a0b0c0d0e0f"\n'
    answer = plan(sluice, api, key + WEB)
    assert warnings(answer) == {("hash_key", None)} and answer["new_hash_key"]
    assert answer["slots"] == {"after": 65537, "moved": 65537}


def test_services_of_the_api_stay(sluice, api):
    api.call("service.add", name="mine", address="203.0.113.9:80/tcp")
    assert [s["name"] for s in plan(sluice, api, WEB + DNS)["services"]] == ["dns"]


def test_what_apply_would_refuse_is_refused(sluice, api):
    before = live(api)
    assert refusal(api.call, "config.plan", text="services: 7\n").code == PARAMS
    assert refusal(api.call, "config.plan").code == PARAMS
    api.call("service.add", name="dns", address="203.0.113.9:53/udp")
    error = refusal(plan, sluice, api, WEB + DNS)
    assert error.code == refusal(api.call, "config.apply",
                                 text=sluice.preamble() + WEB + DNS).code
    api.call("service.delete", name="dns")
    error = refusal(plan, sluice, api, WEB + "        check: 7\n")
    assert error.code == PARAMS
    exec_check = WEB.replace("    backends", "    check: {type: exec, command: /bin/true}\n    backends")
    assert "runs no programs" in refusal(plan, sluice, api, exec_check).message
    assert live(api)[0]["digest"] == before[0]["digest"]


def test_without_a_dataplane_there_is_no_plan(sluice, api):
    sluice.kill("sluice-memory")
    end = time.monotonic() + 5
    while api.call("status")["connected"]:
        assert time.monotonic() < end
    assert refusal(plan, sluice, api, WEB + DNS).code == NOT_CONNECTED
    sluice.start_dataplane()
    sluice.await_step(api)
    assert [s["name"] for s in plan(sluice, api, WEB + DNS)["services"]] == ["dns"]
    assert names(api) == ["web"]


def test_a_transaction_of_somebody_else_is_named(sluice, api):
    """Another client of the private socket holds its transaction; then it ends."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    held.connect(str(sluice.run_dir / "dataplane.sock"))
    # The greeting's hash is of wire.h; a wrong one is refused with the right one.
    hello = struct.pack("<IHHIi", 32, 1, 0, 1, 0) + struct.pack("<IIQ", 0x31434c53, 1, 0)
    held.send(hello)
    abi = int(re.search(r"dataplane: 1 with ([0-9a-f]{16})", held.recv(65536)[16:].decode())[1], 16)
    held.send(hello[:-8] + struct.pack("<Q", abi))
    assert struct.unpack("<i", held.recv(65536)[12:16])[0] == 0
    held.send(struct.pack("<IHHIi", 48, 3, 0, 2, 0) + struct.pack("<QQQQ", 99, 0, 1, 2))
    assert struct.unpack("<i", held.recv(65536)[12:16])[0] == 0
    error = refusal(plan, sluice, api, WEB + DNS)
    assert error.code == REFUSED and "is under way" in error.message
    held.close()
    assert plan(sluice, api, WEB + DNS)["services"]
    assert backends(api, "web")
