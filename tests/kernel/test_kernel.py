# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What runs on Debian 12's kernel, in the machine that run-on-6.1 emulates."""
import os
import pathlib
import subprocess
import tempfile
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", TOP / "build"))
RUN = TOP / "tests" / "kernel" / "run-on-6.1"
TIMEOUT = 124
HARNESS = 125


@pytest.fixture(scope="session", autouse=True)
def kernel():
    """Fetched before the first test, so that no limit of time includes a download."""
    fetched = subprocess.run([RUN, "--fetch"], capture_output=True, text=True, timeout=600)
    assert fetched.returncode == 0, fetched.stderr


def run(*arguments, tmpdir=None):
    environment = dict(os.environ, **({"TMPDIR": str(tmpdir)} if tmpdir else {}))
    return subprocess.run([RUN, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env=environment)


def test_the_kernel_is_6_1():
    result = run("/bin/uname", "-r")
    assert (result.returncode, result.stdout[:4]) == (0, "6.1."), result.stderr


def test_a_failure_and_the_output_come_through():
    script = "echo to stdout; echo \"it's $NAME\" >&2; cat given; exit 77"
    with tempfile.NamedTemporaryFile("w") as given:
        given.write("a file\n")
        given.flush()
        result = run("-f", f"{given.name}:given", "-e", "NAME=a word", "/bin/sh", "-c", script)
    assert result.returncode == 77, result.stderr
    assert result.stdout == "to stdout\nit's a word\na file\n"


def test_the_time_is_limited_and_nothing_is_left(tmp_path):
    start = time.monotonic()
    result = run("-t", "6", "/bin/sh", "-c", "echo begun; exec sleep 1000", tmpdir=tmp_path)
    assert result.returncode == TIMEOUT
    assert 6 <= time.monotonic() - start < 30
    assert "--- console" in result.stderr
    assert list(tmp_path.iterdir()) == []
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in command.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile


def test_a_panic_is_no_status():
    result = run("/bin/sh", "-c", "echo c >/proc/sysrq-trigger")
    assert result.returncode == HARNESS
    assert "Kernel panic" in result.stderr


def test_a_nic_without_its_tap_is_refused():
    result = run("-n", "no-such-tap", "/bin/true")
    assert result.returncode == HARNESS
    assert "no-such-tap: no tap device here" in result.stderr


def test_a_command_comes_with_its_libraries():
    result = run("-b", "ip", "/bin/sh", "-c", "ip link add veth-a type veth peer name veth-b && ip -j link show veth-a")
    assert result.returncode == 0, result.stderr
    assert '"ifname":"veth-a"' in result.stdout


def test_the_classifier_is_loaded_and_attached():
    result = run(BUILD / "tests" / "kernel" / "load-classifier")
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "verified" in result.stdout and "native mode" in result.stdout


def test_the_verifier_accepts_the_xdp_program():
    result = run("-m", "2048", BUILD / "tests" / "conformance" / "verifier-test")
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "sl_balance:" in result.stdout


def test_the_xdp_engine_agrees_with_every_vector_and_story():
    vectors = TOP / "tests" / "vectors"
    result = run("-m", "2048", "-t", "240", "-b", "ip", "-f", vectors / "packets.txt", "-f", vectors / "stories.txt",
                 BUILD / "tests" / "conformance" / "conformance-xdp")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 failed" in result.stdout
