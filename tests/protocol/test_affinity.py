# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Affinity, as the API, the file, the state and the command line have it; needs no root."""
import pytest

from sluice_api import Refused, Sluice, running

WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    affinity: {timeout: 300, prefix: 24}
    backends:
      - {address: 10.0.0.2:8080}
"""
WITHOUT = WEB.replace("    affinity: {timeout: 300, prefix: 24}\n", "")


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


def affinity(api, service="app"):
    return api.call("service.show", name=service)["service"].get("affinity")


def texts(answer):
    return [change["text"] for change in answer["changes"]]


def set_affinity(api, **members):
    return api.call("service.set", name="app", affinity=members)


def test_it_is_set_member_by_member_and_ended_by_no_timeout(api):
    api.call("service.add", name="app", address="203.0.113.11:80/tcp")
    api.call("service.add", name="six", address="[2001:db8::1]:80/tcp", affinity={"timeout": 60})
    assert affinity(api) is None and affinity(api, "six") == {"timeout": 60, "prefix": 128}
    assert texts(set_affinity(api, timeout=300)) == ["~ service app affinity.timeout 0 -> 300 affinity.prefix 32"]
    assert affinity(api) == {"timeout": 300, "prefix": 32}
    assert texts(set_affinity(api, prefix=20)) == ["~ service app affinity.prefix 32 -> 20"]
    assert set_affinity(api, prefix=20)["n_changes"] == 0
    assert texts(set_affinity(api, timeout=0)) == ["~ service app affinity.timeout 300 -> 0"]
    assert affinity(api) is None


@pytest.mark.parametrize("members, words", [
    ({"prefix": 24}, ["service app", "affinity.timeout", "missing"]),
    ({"timeout": 0, "prefix": 24}, ["affinity.timeout", "0"]),
    ({"timeout": 300, "prefix": 33}, ["service app", "affinity.prefix", "1..32"]),
    ({"timeout": 300, "prefix": 0}, ["affinity.prefix", "1..128"]),
    ({"timeout": 604801}, ["affinity.timeout", "0..604800"]),
    ({"timeout": "300"}, ["affinity.timeout", "string", "integer"]),
    ({"size": 3}, ["affinity.size", "known are: timeout, prefix"]),
])
def test_what_is_wrong_is_named(api, members, words):
    api.call("service.add", name="app", address="203.0.113.11:80/tcp")
    with pytest.raises(Refused) as caught:
        set_affinity(api, **members)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert affinity(api) is None


def test_mode_snat_has_none(api):
    with pytest.raises(Refused, match="affinity does not go with mode snat"):
        api.call("service.add", name="office", address="10.0.0.0/16", source=["203.0.113.200"], affinity={"timeout": 9})


def test_it_is_kept_exported_and_compared(sluice, api):
    assert affinity(api, "web") == {"timeout": 300, "prefix": 24}
    text = api.call("config.export")["text"]
    assert "affinity: {timeout: 300, prefix: 24}" in text
    assert api.call("config.diff", text=text)["n_changes"] == 0
    assert texts(api.call("config.diff", text=text.replace("prefix: 24", "prefix: 16"))) == [
        "~ service web affinity.prefix 24 -> 16"]
    plan = api.call("config.plan", text=text.replace("timeout: 300", "timeout: 600"))
    assert plan["n_services"] == 1 if "n_services" in plan else plan["services"], plan
    sluice.kill("sluiced")
    sluice.start_daemon()
    connection = sluice.connect()
    sluice.await_step(connection)
    assert affinity(connection, "web") == {"timeout": 300, "prefix": 24}
    connection.close()


def test_entries_are_listed_and_cleared(sluice, api):
    listed = {"service": "web", "timeout": 300, "prefix": 24, "entries": 0}
    assert api.call("affinity.list") == {"affinities": [listed], "entries": 0, "capacity": 65536}
    assert api.call("affinity.list", service="web")["affinities"] == [listed]
    generation = api.call("status")["generation"]
    assert api.call("affinity.clear", service="web") == {
        "generation": generation, "applied": True, "dry_run": False, "entries": 0}
    assert api.call("affinity.clear", service="web", dry_run=True)["dry_run"] is True
    for service in ("affinity.list", "affinity.clear"):
        with pytest.raises(Refused, match="nobody"):
            api.call(service, service="nobody")
    with pytest.raises(Refused, match="if_generation"):
        api.call("affinity.clear", service="web", if_generation=generation + 1)
    sluice.write_services(WITHOUT)
    api.call("config.apply", text=sluice.config.read_text(), file=str(sluice.config))
    assert api.call("affinity.list", service="web")["affinities"] == []
