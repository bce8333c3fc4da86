# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
import hashlib
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))

import guest  # noqa: E402
import topology  # noqa: E402

BODIES = {"kilo": 1024, "mega": 1 << 20}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder of bodies and their SHA-256, by name."""
    root = tmp_path_factory.mktemp("bodies")
    digests = {}
    for name, size in BODIES.items():
        data = os.urandom(size)
        (root / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    for folder in (root, *root.parents):
        if str(folder).startswith("/tmp/"):
            os.chmod(folder, 0o755)
    return root, digests


@pytest.fixture(scope="session")
def portable():
    """sluice-dpdk for the emulated processor, which lacks what the host's own may have."""
    if not os.path.exists(os.path.join(guest.PORTABLE, "build.ninja")):
        topology.run("meson", "setup", guest.PORTABLE, topology.TOP, "-Dcpu=x86-64-v2", "-Dtests=disabled", "-Dxdp=disabled")
    topology.run("ninja", "-C", guest.PORTABLE, "sluice-dpdk")


@pytest.fixture(scope="session")
def kernel():
    """Fetched before the machine starts, so that no limit of time includes a download."""
    fetched = subprocess.run([guest.RUN, "--fetch"], capture_output=True, text=True, timeout=600, check=False)
    assert fetched.returncode == 0, fetched.stderr


def services():
    return {
        "web": (f"{topology.SERVICE4}:80/tcp", [(f"{topology.backend4(i)}:8080", 1) for i in (1, 2, 3)]),
        "web6": (f"[{topology.SERVICE6}]:80/tcp", [(f"[{topology.backend6(i)}]:8080", 1) for i in (1, 2, 3)]),
        "echo": (f"{topology.SERVICE4}:53/udp", [(f"{topology.backend4(i)}:5353", 1) for i in (1, 2, 3)]),
        "echo6": (f"[{topology.SERVICE6}]:53/udp", [(f"[{topology.backend6(i)}]:5353", 1) for i in (1, 2, 3)]),
        "full": (f"{topology.SERVICE4}:81/tcp", [(f"{topology.backend4(i)}:8080", 1) for i in (1, 2, 3)], {},
                 {"mode": "fullnat", "source": topology.SOURCES4}),
        "full6": (f"[{topology.SERVICE6}]:81/tcp", [(f"[{topology.backend6(i)}]:8080", 1) for i in (1, 2, 3)], {},
                  {"mode": "fullnat", "source": topology.SOURCES6}),
        "fullecho": (f"{topology.SERVICE4}:54/udp", [(f"{topology.backend4(i)}:5353", 1) for i in (1, 2, 3)], {},
                     {"mode": "fullnat", "source": topology.SOURCES4}),
    }


@pytest.fixture(scope="session")
def machine(files, portable, kernel):
    net = guest.GuestTopology()
    try:
        net.make()
        net.start_nginx(files[0])
        net.start_echo()
        net.start_machine()
        yield net
    finally:
        net.remove()


@pytest.fixture(scope="module", params=[2, 4], ids=["2 workers", "4 workers"])
def net(request, machine):
    """The machine with Sluice running, on ports that another Sluice had before."""
    machine.workers = request.param
    machine.checks_all = request.param == 4
    machine.write_config(services())
    try:
        machine.start_sluice()
    except BaseException:
        for name in ("dataplane", "sluiced"):
            print(f"--- {name}\n{machine.log(name)}")
        raise
    yield machine
    machine.stop_sluice()


@pytest.fixture(autouse=True)
def invariants(request):
    """After every test: received = sum of verdicts, and no buffer is lost."""
    yield
    if "net" in request.fixturenames:
        request.getfixturevalue("net").check_invariants()
