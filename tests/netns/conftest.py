# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
import hashlib
import os
import pathlib
import shutil
import tempfile

import pytest

import topology

# What is one engine's alone; the module of DPDK's own ports runs on both, see topology.Topology.
collect_ignore = {"xdp": ["test_changing_workers.py", "test_eight_workers.py", "test_egress_workers.py", "test_idle_sleep.py",
                          "test_onearm_changing_workers.py",
                          "test_telemetry.py"],
                  "dpdk": ["test_xdp.py"]}[topology.ENGINE]

SIZES = {"empty": 0, "one": 1, "kilo": 1024, "mega": 1 << 20, "big": 200_000_000}


@pytest.fixture(scope="session")
def files():
    """A folder of bodies and their SHA-256, by name. Not pytest's own: any other pytest that begins takes its
    folders from all but their owner, and servers run as others."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bodies-"))
    root.chmod(0o755)
    digests = {}
    try:
        for name, size in SIZES.items():
            digest = hashlib.sha256()
            with open(root / name, "wb") as file:
                left = size
                while left > 0:
                    chunk = os.urandom(min(left, 1 << 20))
                    digest.update(chunk)
                    file.write(chunk)
                    left -= len(chunk)
            digests[name] = digest.hexdigest()
        yield root, digests
    finally:
        shutil.rmtree(root)


def services():
    return {
        "web": (f"{topology.SERVICE4}:80/tcp", [(f"{topology.backend4(i)}:8080", i) for i in (1, 2, 3)]),
        "web6": (f"[{topology.SERVICE6}]:80/tcp",
                 [(f"[{topology.backend6(i)}]:8080", i) for i in (1, 2, 3)]),
        "echo": (f"{topology.SERVICE4}:53/udp", [(f"{topology.backend4(i)}:5353", 1) for i in (1, 2, 3)]),
        "echo6": (f"[{topology.SERVICE6}]:53/udp",
                  [(f"[{topology.backend6(i)}]:5353", 1) for i in (1, 2, 3)]),
    }


def fullnat(all_services):
    """The same services in mode fullnat."""
    return {name: (address, backends, {},
                   {"mode": "fullnat", "source": topology.SOURCES6 if "[" in address else topology.SOURCES4})
            for name, (address, backends) in all_services.items()}


def bring_up(kind, root, workers=1, one_arm=False, max_workers=None, timeouts=None, has_flow_log=False,
             more_config=(), idle_sleep_us=None):
    net = topology.Topology(kind, workers, one_arm, max_workers)
    net.more_config = list(more_config)
    if idle_sleep_us is not None:
        net.idle_sleep_us = idle_sleep_us
    if has_flow_log:
        net.flow_log = os.path.join(net.dir, "flows.jsonl")
    try:
        net.make()
        net.start_nginx(root)
        net.start_echo()
        chosen = fullnat(services()) if one_arm else services()
        net.write_config({name: (address, backends, timeouts or {}, *more[1:])
                          for name, (address, backends, *more) in chosen.items()})
        net.start_sluice()
    except BaseException:
        net.abandon()
        raise
    return net


@pytest.fixture(scope="module")
def net(request, files):
    net = bring_up(getattr(request.module, "KIND", "interface"), files[0],
                   getattr(request.module, "WORKERS", 1), getattr(request.module, "ONE_ARM", False),
                   getattr(request.module, "MAX_WORKERS", None), getattr(request.module, "TIMEOUTS", None),
                   getattr(request.module, "HAS_FLOW_LOG", False), getattr(request.module, "MORE_CONFIG", ()))
    yield net
    net.remove()


@pytest.fixture(autouse=True)
def invariants(request):
    """After every test with a topology: received = sum of verdicts, and no buffer is lost."""
    yield
    if "net" in request.fixturenames:
        request.getfixturevalue("net").check_invariants()
