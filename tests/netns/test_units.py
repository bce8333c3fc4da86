# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The programs with no more capabilities than their systemd units leave them."""

import os
import re

import topology

WEB = f"http://{topology.SERVICE4}/name"


def confined(program):
    """What runs a program with the unit's capabilities and no way to others."""
    with open(os.path.join(topology.TOP, "systemd", f"{program}.service.in")) as unit:
        names = re.search(r"^CapabilityBoundingSet=(.*)$", unit.read(), re.MULTILINE).group(1).split()
    sets = ",".join(["-all", *[f"+{name.removeprefix('CAP_').lower()}" for name in names]])
    return ["setpriv", "--no-new-privs", f"--bounding-set={sets}", os.path.join(topology.BUILD, program)]


def in_step(net):
    topology.wait_until("the programs to be in step", 30, lambda: net.status().get("in_step"))


def test_the_capabilities_of_the_units_are_enough(net):
    engine = f"sluice-{topology.ENGINE}"
    for name in ("sluiced", "dataplane"):
        net.stop(name)
    net.start("dataplane", "lb", *confined(engine), "-c", net.config)
    net.start("sluiced", "lb", *confined("sluiced"), "-c", net.config)
    in_step(net)
    topology.wait_until("an answer", 10, lambda: net.run_in("client", "curl", "-s", "--max-time", "2", WEB, check=False).returncode == 0)
    status = net.status()
    assert status["engine"] == topology.ENGINE and status["health"]["backends"] == 0
