# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The operator's guide read from its beginning to its end: its commands work in their order, on its first configuration."""

import pathlib
import re
import shlex
import subprocess

import pytest

from sluice_api import Sluice, find_program, running

GUIDE = (pathlib.Path(__file__).parents[2] / "docs/guide.md").read_text()
# What needs another host's files, root's interfaces or a reader who ends it.
ELSEWHERE = re.compile(r"\.yaml|doctor|[|<]|^sluice (shell|top|events|capture)\b")


def blocks(language):
    """The guide's blocks, without their indentation."""
    for indent, found, text in re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL):
        if found == language:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands():
    for block in blocks(""):
        for line in block.splitlines():
            line = re.sub(r"^by hand: +", "", line)
            if line.startswith("sluice ") and not ELSEWHERE.search(line):
                yield line


@pytest.fixture(scope="module")
def sluice(tmp_path_factory):
    first = next(block for block in blocks("yaml") if "services:" in block)
    services = "services:" + first.split("services:")[1]
    with running(Sluice(tmp_path_factory.mktemp("guide"), services)) as instance:
        yield instance


def test_the_commands_of_the_guide_work_in_their_order(sluice):
    lines = list(commands())
    assert len(lines) >= 25
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        # Nobody is to be asked for its health here.
        words += ["--dry-run"] if "check" in words else []
        done = subprocess.run([find_program("sluice"), "-s", str(sluice.run_dir / "control.sock"), *words],
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_the_configurations_of_the_guide_are_good(tmp_path):
    n = 0
    for block in blocks("yaml"):
        path = tmp_path / "part.yaml"
        path.write_text(block if re.match(r"\w", block) else "services:\n" + block)
        done = subprocess.run([find_program("sluice"), "check", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in done.stderr.splitlines() if "warning: " not in line]
        assert (done.returncode, errors) == (0, []), f"{block}{done.stderr}"
        n += 1
    assert n >= 4
