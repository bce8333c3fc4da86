# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""How backends are checked, as the API takes, tells and keeps it; needs no root."""

import json

import pytest

from sluice_api import Refused, Sluice, running

WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    check: {type: http, path: /health, interval_ms: 3600000}
    backends:
      - {address: 10.0.0.2:8080}
"""
CHECK = {"type": "http", "on_down": "reset", "passive": "off", "port": 0, "interval_ms": 2000, "fast_interval_ms": 0,
         "timeout_ms": 0, "rise": 2, "fall": 3, "jitter_percent": 10, "hold_down_ms": 1000,
         "slow_start_ms": 0, "panic_percent": 1, "passive_percent": 50, "passive_openings": 10, "passive_window_ms": 1000, "method": "GET", "path": "/", "host": "",
         "statuses": "200-399", "body": ""}


@pytest.fixture
def sluice(tmp_path):
    with running(Sluice(tmp_path, WEB)) as instance:
        yield instance


def check_of(api, name):
    return api.call("service.show", name=name)["service"].get("check")


def test_a_check_comes_from_the_file_and_from_the_api(api):
    assert check_of(api, "web") == CHECK | {"path": "/health", "interval_ms": 3600000}
    api.call("service.add", name="app", address="203.0.113.11:80/tcp", check={"type": "http"})
    assert check_of(api, "app") == CHECK
    api.call("service.add", name="plain", address="203.0.113.12:80/tcp")
    assert check_of(api, "plain") is None


def test_members_not_given_stay_and_those_of_another_type_go(api):
    api.call("service.add", name="app", address="203.0.113.11:80/tcp",
             check={"type": "http", "path": "/health", "fall": 5})
    answer = api.call("service.set", name="app", check={"interval_ms": 1000})
    assert answer["changes"][0]["text"] == "~ service app check.interval_ms 2000 -> 1000"
    assert check_of(api, "app") == CHECK | {"path": "/health", "fall": 5, "interval_ms": 1000}
    api.call("service.set", name="app", check={"type": "tcp"})
    shown = check_of(api, "app")
    assert shown["type"] == "tcp" and shown["fall"] == 5 and "path" not in shown
    answer = api.call("service.set", name="app", check={"type": "none"})
    assert answer["changes"][0]["text"] == "~ service app check.type tcp -> none"
    assert check_of(api, "app") is None
    assert api.call("service.set", name="app", check={"type": "none"})["n_changes"] == 0


def test_a_check_is_kept_and_exported(sluice, api):
    check = {"type": "tcp", "send": "PING\r\n", "expect": "+PONG \"\u00e9\"", "interval_ms": 3600000}
    api.call("service.add", name="redis", address="203.0.113.11:6379/tcp", check=check)
    # Of the health nobody has the same opinion at any time.
    listed = lambda: [{**service, "health": None} for service in api.call("service.list")["services"]]
    before = listed()
    text = api.call("config.export")["text"]
    sluice.kill("sluiced")
    sluice.start_daemon()
    api = sluice.connect()
    sluice.await_step(api)
    assert listed() == before
    assert api.call("config.export")["text"] == text
    assert check_of(api, "redis")["expect"] == check["expect"]


@pytest.mark.parametrize("check, words", [
    ({}, ["check.type", "is missing"]),
    ({"path": "/"}, ["check.type", "is missing"]),
    ({"type": "ftp"}, ["check.type", "ftp", "none|tcp|http"]),
    ({"type": "tcp", "path": "/"}, ["check.path", "does not go with type tcp"]),
    ({"type": "http", "rise": 0}, ["check.rise", "0", "1..255"]),
    ({"type": "http", "path": 7}, ["check.path", "string"]),
    ({"type": "http", "path": "health"}, ["check.path", "must begin with /"]),
    ({"type": "http", "path": "/" * 256}, ["check.path", "256", "255"]),
    ({"type": "https", "tls_verify": "yes"}, ["check.tls_verify", "boolean"]),
    ({"type": "http", "uri": "/"}, ["check.uri", "known are", "expect, command"]),
    ({"type": "http", "timeout_ms": 2001}, ["check.timeout_ms", "interval_ms"]),
    ({"type": "http", "host": "a\r\nX: y"}, ["check.host", "name of a host"]),
    ({"type": "http", "passive": "on"}, ["check.passive", "on", "off|refused|openings|resets"]),
    ({"type": "http", "passive": True}, ["check.passive", "string"]),
    ({"type": "http", "passive_percent": 0}, ["check.passive_percent", "0", "1..100"]),
    ({"type": "http", "passive_percent": 101}, ["check.passive_percent", "101", "1..100"]),
    ({"type": "http", "passive_openings": 0}, ["check.passive_openings", "0", "1..1000000"]),
    ({"type": "http", "passive_openings": 1000001}, ["check.passive_openings", "1000001", "1..1000000"]),
    ({"type": "http", "passive_window_ms": 499}, ["check.passive_window_ms", "499", "500..60000"]),
    ({"type": "http", "passive_window_ms": 60001}, ["check.passive_window_ms", "60001", "500..60000"]),
    ({"type": "passive", "interval_ms": 1000}, ["check.interval_ms", "does not go with type passive"]),
    ({"type": "passive", "rise": 1}, ["check.rise", "does not go with type passive"]),
    ({"type": "tcp", "passive_quorum_percent": 50}, ["check.passive_quorum_percent", "does not go with type tcp"]),
    ({"type": "passive", "passive_quorum_percent": 0}, ["check.passive_quorum_percent", "0", "1..100"]),
    ({"type": "passive", "passive_quorum_percent": 101}, ["check.passive_quorum_percent", "101", "1..100"]),
    ({"type": "none", "passive": "openings"}, ["check.passive", "does not go with type none"]),
    ("http", ["check", "object"]),
])
def test_what_is_wrong_is_named(api, check, words):
    with pytest.raises(Refused) as caught:
        api.call("service.add", name="app", address="203.0.113.11:80/tcp", check=check)
    assert all(word in caught.value.message for word in words), json.dumps(caught.value.message)
    assert len(api.call("service.list")["services"]) == 1


def test_hints_are_of_tcp_alone(api):
    check = {"type": "icmp", "passive": "openings"}
    for address, refused in (("203.0.113.11:53/udp", check), ("[2001:db8::11]:0/udp", check), ("203.0.113.11:53/udp", {"type": "passive"})):
        with pytest.raises(Refused) as caught:
            api.call("service.add", name="app", address=address, check=refused)
        assert "service app: check.passive is for TCP alone" in caught.value.message
    api.call("service.add", name="app", address="203.0.113.11:53/udp", check={"type": "icmp"})
    with pytest.raises(Refused):
        api.call("service.set", name="app", check={"passive": "resets"})
    api.call("service.add", name="other", address="203.0.113.11:53/tcp", check=check)
    answer = api.call("service.set", name="other", check={"passive": "resets", "passive_window_ms": 500})
    assert [change["text"] for change in answer["changes"]] == [
        "~ service other check.passive openings -> resets check.passive_window_ms 1000 -> 500"]
    assert check_of(api, "other")["passive"] == "resets"


def test_where_nobody_is_asked_refusals_are_what_counts_at_least(api):
    alone = {"type": "passive", "on_down": "reset", "passive": "refused", "fall": 3, "hold_down_ms": 1000, "slow_start_ms": 0,
             "panic_percent": 1, "passive_percent": 50, "passive_openings": 10, "passive_window_ms": 1000, "passive_quorum_percent": 50}
    api.call("service.add", name="app", address="203.0.113.11:80/tcp", check={"type": "passive"})
    assert check_of(api, "app") == alone
    api.call("service.set", name="app", check={"passive": "openings", "passive_quorum_percent": 80})
    assert check_of(api, "app") == alone | {"passive": "openings", "passive_quorum_percent": 80}
    assert api.call("service.set", name="app", check={"passive": "off"})["n_changes"] == 1
    assert check_of(api, "app")["passive"] == "refused"
    # What says something with the other type alone gets its default.
    api.call("service.set", name="app", check={"type": "tcp", "fall": 5})
    assert {key: check_of(api, "app")[key] for key in ("interval_ms", "rise", "jitter_percent", "fall", "passive")} == {
        "interval_ms": 2000, "rise": 2, "jitter_percent": 10, "fall": 5, "passive": "refused"}
    api.call("service.set", name="app", check={"type": "passive"})
    assert check_of(api, "app") == alone | {"fall": 5}


def test_a_backend_that_is_checked_tells_of_hints(api):
    checks = [backend["check"] for backend in api.call("backend.list", service="web")["backends"]]
    assert [check["hints"] for check in checks] == [0] and "hint" not in checks[0]
    assert api.call("status")["health"]["hints"] == 0
