# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Every broken configuration, applied to a running pair: refused with its position, state untouched."""

import pathlib
import re
import subprocess

import pytest

from sluice_api import Sluice, find_program, running

BROKEN = sorted((pathlib.Path(__file__).parent.parent / "config" / "broken").glob("*.yaml"))
# No JSON document can carry these: `apply` says so, and `check`, which reads the file, has the position.
NOT_TEXT = {"latin1.yaml", "nul-byte.yaml"}
GOOD = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    backends:
      - {address: 10.0.0.2:8080, weight: 1}
"""


@pytest.fixture(scope="module")
def sluice(tmp_path_factory):
    with running(Sluice(tmp_path_factory.mktemp("broken"), GOOD)) as instance:
        yield instance


def test_there_are_enough_broken_configurations():
    assert len(BROKEN) >= 60


def test_broken_configurations_are_refused_with_position_and_change_nothing(sluice):
    api = sluice.connect()
    before = api.call("status")
    failures = []
    for path in BROKEN:
        done = subprocess.run(
            [find_program("sluice"), "-s", str(sluice.run_dir / "control.sock"), "apply", str(path)],
            capture_output=True, text=True, errors="replace", check=False)
        if path.name in NOT_TEXT:
            assert done.returncode == 1
            done = subprocess.run([find_program("sluice"), "check", str(path)], capture_output=True,
                                  text=True, errors="replace", check=False)
        expected = re.match(rb"# expect: (\d+:\d+): ", path.read_bytes())
        if done.returncode != 1:
            failures.append(f"{path.name}: exit {done.returncode}: {done.stdout}{done.stderr}")
        if expected and f":{expected.group(1).decode()}: " not in done.stderr:
            failures.append(f"{path.name}: {expected.group(1)} is not in {done.stderr!r}")
        after = api.call("status")
        for key in ("digest", "dataplane_digest", "generation"):
            if after[key] != before[key]:
                failures.append(f"{path.name}: {key} has changed")
    api.close()
    assert not failures, "\n".join(failures[:20])
