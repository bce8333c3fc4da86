# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""`meson install` puts in place what the operator's guide builds on: programs, pages, units, an example."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from sluice_api import BUILD, Sluice, find_program, running

TOP = pathlib.Path(__file__).parent.parent.parent
PREFIX = pathlib.Path("usr/local")
# Options that give a unit a mount namespace of its own.
NAMESPACED = re.compile(r"^(Protect(System|Home|Kernel\w+|ControlGroups|Proc)|Private(Tmp|Devices|Mounts)|MountFlags|"
                        r"(ReadWrite|ReadOnly|Inaccessible|Exec)\w*Paths|Bind\w*Paths|TemporaryFileSystem|Root\w+)=", re.MULTILINE)


@contextlib.contextmanager
def kept(path):
    """The log of what was installed by somebody else, which `ninja uninstall` goes by, as it was."""
    text = path.read_text() if path.exists() else None
    yield
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    with kept(BUILD / "meson-logs" / "install-log.txt"):
        subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet"], check=True,
                       env={**os.environ, "DESTDIR": str(folder)})
    if not (folder / PREFIX).is_dir():
        pytest.skip("built for another prefix")
    return folder


def units(root):
    return sorted((root / PREFIX / "lib/systemd/system").glob("*.service"))


def test_everything_is_put_in_place(root):
    for name in ("bin/sluice", "sbin/sluiced", "share/man/man1/sluice.1", "share/man/man5/sluice.yaml.5",
                 "share/man/man8/sluiced.8", "share/bash-completion/completions/sluice",
                 "share/doc/sluice/sluice.yaml", "lib/sysusers.d/sluice.conf", "lib/systemd/system/sluiced.service"):
        assert (root / PREFIX / name).is_file(), name


def test_each_engine_that_was_built_has_its_unit(root):
    engines = {path.name for path in (root / PREFIX / "sbin").iterdir()}
    assert {path.stem for path in units(root)} == engines


def test_units_start_what_is_installed_and_are_told_when_it_is_ready(root):
    for unit in units(root):
        text = unit.read_text()
        program, config = re.search(r"^ExecStart=(\S+) -c (\S+)$", text, re.MULTILINE).groups()
        assert (root / program.lstrip("/")).is_file(), unit.name
        assert config == "/etc/sluice/sluice.yaml"
        for line in ("Type=notify", "Restart=always", "NoNewPrivileges=yes", "ExecReload=/bin/kill -HUP $MAINPID"):
            assert f"\n{line}\n" in text, f"{unit.name}: {line}"
        # The programs make both, with the owners that the configuration names.
        assert not re.search(r"^(Runtime|State)Directory=", text, re.MULTILINE), unit.name


def test_pins_of_the_xdp_engine_outlive_its_service(root):
    """A bpffs that is mounted in a mount namespace of the service's own is gone with it."""
    for unit in units(root):
        if unit.stem == "sluice-xdp":
            assert not NAMESPACED.search(unit.read_text())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not there")
def test_systemd_understands_the_units(root):
    host = root / "usr/lib/systemd/system"
    host.mkdir(parents=True)
    for target in ("basic", "multi-user", "network", "shutdown", "sysinit"):
        (host / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (root / "bin").mkdir()
    shutil.copy("/bin/kill", root / "bin/kill")
    done = subprocess.run(["systemd-analyze", f"--root={root}", "--man=no", "verify", *[unit.name for unit in units(root)]],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not there")
@pytest.mark.parametrize("unit, limit", [("sluiced", 30), ("sluice-dpdk", 50), ("sluice-xdp", 60)])
def test_services_are_confined(root, unit, limit):
    """What systemd thinks of it, in tenths; what pins are kept by costs sluice-xdp its mount namespace."""
    path = root / PREFIX / "lib/systemd/system" / f"{unit}.service"
    if not path.exists():
        pytest.skip(f"{unit} was not built")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={limit}", str(path)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1:] + [done.stderr]


@pytest.mark.skipif(not shutil.which("systemd-sysusers") or os.geteuid() != 0, reason="systemd-sysusers is not there, or no root")
def test_the_user_and_the_groups_are_made(root, tmp_path):
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(root / PREFIX / "lib/sysusers.d/sluice.conf")],
                   check=True, capture_output=True)
    assert re.match(r"sluice:[^:]*:\d+:\d+:.*:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text())
    assert re.findall(r"^[\w-]+", (tmp_path / "etc/group").read_text(), re.MULTILINE) == ["sluice-read", "sluice"]


def test_the_example_is_good_and_runs(root, tmp_path):
    example = root / PREFIX / "share/doc/sluice/sluice.yaml"
    done = subprocess.run([find_program("sluice"), "check", str(example)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    services = re.sub(r"\n +check:.*", "", example.read_text().split("\nservices:\n")[1])
    with running(Sluice(tmp_path, "services:\n" + services)) as sluice:
        assert [service["name"] for service in sluice.connect().call("service.list")["services"]] == ["web"]


def test_what_the_example_leaves_out_is_good_too(root, tmp_path):
    """Its comments that are keys: without the sign they are read."""
    text = (root / PREFIX / "share/doc/sluice/sluice.yaml").read_text()
    text = re.sub(r"^(\s*)#(?! \S)", r"\1", text, flags=re.MULTILINE).replace(
        "32 hexadecimal digits, of: openssl rand -hex 16", "00112233445566778899aabbccddeeff")
    whole = tmp_path / "whole.yaml"
    whole.write_text(text)
    done = subprocess.run([find_program("sluice"), "check", str(whole)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "services: 2" in done.stdout


def test_the_guide_names_the_packages_that_the_scripts_install():
    script = (TOP / "scripts/lib.sh").read_text()
    main = re.search(r'MAIN_PACKAGES="([^"]*)"', script).group(1).split()
    guide = re.search(r"apt-get install --no-install-recommends ((?:.*\\\n)*.*)", (TOP / "docs/guide.md").read_text()).group(1)
    named = set(guide.replace("\\\n", " ").split())
    assert named <= set(main)
    # What only the demonstration needs.
    assert set(main) - named <= {"nginx-light", "curl", "python3", "iproute2", "ethtool", "procps", "dpdk"}
