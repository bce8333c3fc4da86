# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""`sluice top`: snapshots by -j and on a pipe, and the screen by a pseudo terminal."""

import json
import os
import re
import signal
import subprocess
import termios
import time

import pytest

from sluice_api import find_program
from terminal import Screen
from test_cli import BACKEND, DONE, NOT_CONNECTED, REFUSED, SERVICE, USAGE, ANSWERS, FakeDaemon, run

# What a service's counters grow by from one look to the next.
GROWTH = {"web": 1000, "wiki": 10, "mail": 100}


class GrowingDaemon(FakeDaemon):
    """Each answer has counted more than the one before."""

    looks = 0

    def reply(self, connection, request):
        self.looks += request["method"] != "status"

        def counted(entry, name):
            return {**entry, "counters": {counter: 0 if counter == "flows_ended" else self.looks * GROWTH[name] * (1 + i)
                                          for i, counter in enumerate(entry["counters"])}}
        services = [counted({**SERVICE, "name": name}, name) for name in ("web", "wiki", "mail")]
        backends = [counted({**BACKEND, "address": f"10.0.0.{i}:8080"}, "web") for i in range(40)]
        ANSWERS_NOW = {"service.list": {"services": services}, "backend.list": {"backends": backends},
                       "status": ANSWERS["status"]}
        document = {"jsonrpc": "2.0", "id": request["id"], "result": ANSWERS_NOW[request["method"]]}
        self.answer = json.dumps(document).encode() + b"\n"
        super().reply(connection, request)


@pytest.fixture
def daemon(tmp_path):
    daemon = GrowingDaemon(tmp_path / "control.sock")
    yield daemon
    daemon.close()


def snapshots(daemon, *words):
    code, out, err = run("-j", "top", "interval", "0.2", *words, socket_path=daemon.path)
    assert (code, err) == (DONE, "")
    return [json.loads(line) for line in out.splitlines()]


# Snapshots

def test_snapshots_have_the_rates_since_the_one_before(daemon):
    lines = snapshots(daemon, "count", 2)
    assert [line["view"] for line in lines] == ["services"] * 2
    for line in lines:
        assert 0.19 <= line["seconds"] < 5
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        for row in line["rows"]:
            grown = {counter: rate * line["seconds"] for counter, rate in row["rates"].items()}
            step = GROWTH[row["name"]]
            assert grown == pytest.approx({"new_flows": step, "packets_in": 2 * step, "bits_in": 24 * step,
                                           "packets_out": 4 * step, "bits_out": 40 * step, "drops": 6 * step})
    assert [row["name"] for row in lines[0]["rows"]] == ["web", "mail", "wiki"]
    # One question a look: nothing is asked that is not shown.
    assert [request["method"] for request in daemon.requests] == ["service.list"] * 3


def test_backends_of_one_service_are_all_that_is_asked_for(daemon):
    line, = snapshots(daemon, "count", 1, "service", "web", "sort", "name")
    assert line["view"] == "backends" and len(line["rows"]) == 40
    assert [row["address"] for row in line["rows"]] == sorted(row["address"] for row in line["rows"])
    assert line["rows"][0]["health"] == "up" and "flows" in line["rows"][0] and "drops" not in line["rows"][0]["rates"]
    assert {(r["method"], r["params"]["service"]) for r in daemon.requests} == {("backend.list", "web")}


def test_order_and_filter_are_taken_from_the_line(daemon):
    rows = snapshots(daemon, "count", 1, "sort", "bits_out", "reverse", "filter", "I")[0]["rows"]
    assert [row["name"] for row in rows] == ["wiki", "mail"]
    for words in (["sort", "speed"], ["count", "0"], ["count"], ["quickly"], *(["interval", value] for value in
                  ("soon", "0", "0.09", "86401", "-1", "1e3", "nan", "inf", ".", "1.5s", ""))):
        assert run("top", *words, socket_path=daemon.path)[0] == USAGE, words


def test_a_pipe_gets_tables(daemon):
    code, out, err = run("top", "count", 1, "interval", "0.1", socket_path=daemon.path)
    assert (code, err) == (DONE, "")
    assert out.splitlines()[0].split() == ["NAME", "ADDRESS", "BACKENDS", "HEALTH", "NEW/S", "PPS-IN", "BPS-IN",
                                           "PPS-OUT", "BPS-OUT", "DROPS/S"]
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["web", "mail", "wiki"]


def test_without_a_daemon_it_ends_and_one_that_goes_is_waited_for(tmp_path):
    path = tmp_path / "control.sock"
    assert run("-j", "top", "count", 1, socket_path=path)[0] == NOT_CONNECTED
    daemon = GrowingDaemon(path)
    process = subprocess.Popen([find_program("sluice"), "-s", path, "-j", "top", "count", "2", "interval", "0.1"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(process.stdout.readline())["view"] == "services"
    daemon.close()
    path.unlink()
    assert "connect" in json.loads(process.stdout.readline())["error"]["message"]
    daemon = GrowingDaemon(path)
    out, err = process.communicate(timeout=30)
    assert [json.loads(line)["view"] for line in out.splitlines()] == ["services"]
    assert process.returncode == DONE and err.count("waiting for it") == 1
    daemon.close()


# The screen

def expect_rows(screen, *names):
    """Waits until the rows are these, in this order; rates are known from the second look on."""
    end = time.monotonic() + 15
    while [line.split()[0] for line in screen.drawn.display[3:3 + len(names)] if line.strip()] != list(names):
        assert time.monotonic() < end and screen.process.poll() is None, (names, screen.drawn.display)
        screen.read(0.02)


@pytest.fixture
def screen(daemon):
    screen = Screen(daemon.path, "top", "interval", "0.2")
    yield screen
    screen.close()


def test_keys_change_what_is_shown(daemon, screen):
    screen.expect("services, 3 rows, by packets_in")
    screen.expect("*PPS-IN")
    expect_rows(screen, "web", "mail", "wiki")
    screen.press(">")
    screen.expect("bits_in")
    screen.press("r")
    screen.expect("reversed")
    expect_rows(screen, "wiki", "mail", "web")
    screen.press("<<")
    screen.expect("new_flows")
    daemon.requests.clear()
    screen.press("r\x1bOBb")  # in order, one down: the second
    screen.expect("backends of mail, 40 rows")
    assert sum("10.0.0." in line for line in screen.drawn.display) == 20
    assert {request["method"] for request in daemon.requests} <= {"backend.list", "status", "service.list"}
    screen.press("/10.0.0.39\r")
    screen.expect("1 rows")
    assert screen.shows("10.0.0.39:8080") and not screen.shows("10.0.0.38")
    screen.press("s")
    screen.expect("services, 3 rows")
    screen.press("/wikX\x7f")
    screen.expect("/wik")
    screen.expect("1 rows")
    screen.press("\x1b")
    screen.expect("3 rows")
    screen.expect("q quit")
    screen.press("q")
    assert screen.ended() == DONE and b"\x1b[?1049l" in screen.said


def test_screen_asks_for_what_it_shows(daemon, screen):
    expect_rows(screen, "web", "mail", "wiki")
    screen.press("b")
    screen.expect("backends of web")
    daemon.requests.clear()
    screen.read(0.7)
    asked = {(request["method"], json.dumps(request["params"])) for request in daemon.requests}
    assert asked == {("backend.list", '{"service": "web"}'), ("status", "{}")}


def test_refresh_draws_what_has_changed_alone(screen):
    screen.expect("q quit")
    screen.read(0.5)
    said = screen.read(1)
    assert len(said) < 5000 and b"\x1b[2J" not in said and b"\x1b[J" not in said, said


def test_another_size_is_taken(screen):
    screen.expect("q quit")
    for rows, columns, wanted in ((6, 60, "s services  b backends"), (40, 300, "q quit"), (3, 10, "sluice top"),
                                  (10, 80, "q quit")):
        screen.resize(rows, columns)
        os.killpg(screen.process.pid, signal.SIGWINCH)
        screen.expect(wanted)
        assert screen.shows("q quit") == (columns >= 80)
    screen.press("q")
    assert screen.ended() == DONE and b"\x1b[?1049l" in screen.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_the_terminal_as_it_was(screen, number):
    screen.expect("q quit")
    screen.process.send_signal(number)
    assert screen.ended() == -number and b"\x1b[?1049l" in screen.said


def test_daemon_that_goes_is_waited_for(tmp_path):
    path = tmp_path / "control.sock"
    screen = Screen(path, "top", "interval", "0.2")
    try:
        screen.expect("waiting: ")
        daemon = GrowingDaemon(path)
        screen.expect("3 rows")
        daemon.close()
        path.unlink()
        screen.expect("waiting: ")
        daemon = GrowingDaemon(path)
        screen.expect("in step")
        screen.press("q")
        assert screen.ended() == DONE and b"\x1b[?1049l" in screen.said
        daemon.close()
    finally:
        screen.close()


def test_unknown_terminal_is_refused(daemon):
    screen = Screen(daemon.path, "top", term="nosuchterm")
    try:
        end = time.monotonic() + 10
        while screen.process.poll() is None and time.monotonic() < end:
            screen.read(0.05)
        screen.read(0.1)
        assert screen.process.returncode == REFUSED and b"nosuchterm" in screen.said
        assert termios.tcgetattr(screen.slave) == screen.before
    finally:
        screen.close()
