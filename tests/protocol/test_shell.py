# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""`sluice shell`: on a pseudo terminal, and from a file."""

import signal
import subprocess

import pytest

from sluice_api import find_program
from terminal import Screen
from test_cli import DONE, REFUSED, USAGE, FakeDaemon, run


@pytest.fixture
def fake(tmp_path):
    daemon = FakeDaemon(tmp_path / "control.sock")
    yield daemon
    daemon.close()


@pytest.fixture
def shell(fake):
    screen = Screen(fake.path)  # no words at all: a shell, for it is on a terminal
    screen.expect("sluice> ")
    yield screen
    screen.close()


def calls(fake):
    return [(request["method"], request["params"]) for request in fake.requests]


def test_lines_are_run_as_if_typed_alone(fake, shell):
    shell.press("status\n")
    shell.expect("up 1d 02:03:04")
    shell.press("backend set web '10.0.0.2:8080' weight 3\n")
    shell.expect("generation 5, applied")
    assert calls(fake) == [("status", {}), ("backend.set", {"service": "web", "address": "10.0.0.2:8080", "weight": 3})]
    shell.press("backend set web\n")
    shell.expect("usage: sluice backend set")
    shell.press("service show 'web\n")
    shell.expect("a quote is not closed")
    shell.press("quit\n")
    assert shell.ended() == USAGE  # of the last line


def test_tab_completes_words_and_names(fake, shell):
    shell.press("serv\t")
    shell.expect("sluice> service ")
    shell.press("sh\t")
    shell.expect("sluice> service show ")
    shell.press("\t\t")  # what all have in common, then all of them
    shell.expect("web  wiki")
    shell.expect("sluice> service show w")
    shell.press("e\t\n")
    shell.expect("203.0.113.10:80/tcp")
    assert calls(fake)[-1] == ("service.show", {"name": "web"})
    shell.press("backend set web 10.0.0.3\t")
    shell.expect("sluice> backend set web 10.0.0.3:8080 ")
    shell.press("state m\t\n")
    shell.expect("generation 5, applied")
    assert calls(fake)[-1] == ("backend.set", {"service": "web", "address": "10.0.0.3:8080", "state": "maint"})
    shell.press("\x04")  # the end of input
    assert shell.ended() == DONE


def test_former_lines_come_back(fake, shell):
    shell.press("status\n")
    shell.expect("up 1d 02:03:04")
    fake.requests.clear()
    shell.press("\x10\n")
    shell.press("quit\n")
    assert shell.ended() == DONE and calls(fake) == [("status", {})]


def test_interrupt_ends_the_command_and_not_the_shell(fake, shell):
    shell.press("service delete we\x03")
    shell.expect("^C")
    shell.press("top\n")
    shell.expect("q quit")
    shell.press("\x03")
    shell.expect("sluice> ")
    shell.press("status\n")
    shell.expect("up 1d 02:03:04")
    assert "service.delete" not in {method for method, _ in calls(fake)}
    shell.press("exit\n")
    assert shell.ended() == DONE


def test_terminal_is_as_it_was_after_a_signal(shell):
    shell.process.send_signal(signal.SIGTERM)
    assert shell.ended() == -signal.SIGTERM


def test_options_of_the_shell_are_those_of_its_lines(fake):
    shell = Screen(fake.path, "-j", "--timeout", "7", "shell")
    try:
        shell.expect("sluice> ")
        shell.press("status\n")
        shell.expect('"loops": 9')
        shell.press("quit\n")
        assert shell.ended() == DONE
    finally:
        shell.close()


def test_a_file_is_run_until_a_line_fails(fake, tmp_path):
    lines = "# drain it\nbackend set web 10.0.0.2:8080 state drain\n\nstatus\n"
    code, out, err = run("shell", socket_path=fake.path, text=lines)
    assert (code, err) == (DONE, "") and "generation 5, applied" in out and "up 1d 02:03:04" in out
    # The same from a file, whose place is shared with who runs the lines.
    script = tmp_path / "commands"
    script.write_text(lines * 3)
    fake.requests.clear()
    with open(script) as file:
        done = subprocess.run([find_program("sluice"), "-s", fake.path, "shell"], stdin=file, timeout=30)
    assert done.returncode == DONE and len(fake.requests) == 6
    fake.requests.clear()
    code, out, err = run("shell", socket_path=fake.path, text="backend set web nowhere state drain\nstatus\n")
    assert (code, fake.requests) == (USAGE, []) and "nowhere" in err
    fake.refuse(-32003, "there is one")
    assert run("shell", socket_path=fake.path, text="status\nstatus")[0] == REFUSED
