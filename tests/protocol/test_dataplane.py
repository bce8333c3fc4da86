# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What of its configuration stops a dataplane: its own part of the file, and nothing else."""

import signal
import subprocess
import time

import pytest

from sluice_api import Sluice, find_program

BROKEN_SERVICE = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    backends:
      - {address: 10.0.0.2:8080, heft: 1}
"""


@pytest.fixture
def sluice(tmp_path):
    instance = Sluice(tmp_path, BROKEN_SERVICE)
    yield instance
    instance.stop()


def await_log(sluice, text):
    end = time.monotonic() + 20
    while text not in sluice.log.read_text():
        assert time.monotonic() < end, sluice.log.read_text()
        time.sleep(0.02)


def test_a_broken_service_is_nothing_to_the_dataplane(sluice):
    sluice.start_dataplane()
    await_log(sluice, "ready: engine memory")
    assert "warning: " not in sluice.log.read_text()
    sluice.programs["sluice-memory"].send_signal(signal.SIGHUP)
    await_log(sluice, "reload: dataplane.workers is 1 as before")


def test_what_is_the_daemons_is_a_warning_to_the_dataplane(sluice):
    sluice.config.write_text(sluice.config.read_text() + "helth: {exec: true}\n")
    sluice.start_dataplane()
    await_log(sluice, "ready: engine memory")
    log = sluice.log.read_text()
    assert f'warning: {sluice.config}:10:1: unknown key "helth", did you mean "health"?' in log
    assert f"warning: {sluice.config}: what is wrong is none of this program's" in log
    sluice.programs["sluice-memory"].send_signal(signal.SIGHUP)
    await_log(sluice, "reload: dataplane.workers is 1 as before")


def test_a_daemon_refuses_the_same_file(sluice):
    sluice.start_daemon()
    assert sluice.programs["sluiced"].wait(timeout=20) == 1


def test_check_judges_the_whole_file(sluice):
    done = subprocess.run([find_program("sluice-memory"), "-c", str(sluice.config), "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and 'error: ' in done.stderr and "heft" in done.stderr


@pytest.mark.parametrize("old, new, words", [
    ("vdev: net_null0", "vdef: net_null0", 'unknown key "vdef"'),
    ("run_dir: /", "run_dir: ", "run_dir"),
    ("services:", "services: [", "not YAML"),
])
def test_what_is_its_own_stops_it_as_before(sluice, old, new, words):
    sluice.config.write_text(sluice.config.read_text().replace(old, new))
    sluice.start_dataplane()
    assert sluice.programs["sluice-memory"].wait(timeout=20) == 1
    assert words in sluice.log.read_text() and "error: " in sluice.log.read_text()
