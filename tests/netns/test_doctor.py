# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""`sluice doctor` on a real host: what is amiss is found, and the command that it names mends it."""
import contextlib
import json
import os

import pytest

import topology

SERVICES = {"web": (f"{topology.SERVICE4}:80/tcp", [(f"{topology.backend4(1)}:8080", 1)])}
NAME_OF_BALANCER = {"xdp": "sl_balance", "dpdk": "sl_classify"}[topology.ENGINE]


@pytest.fixture(scope="module")
def host():
    net = topology.Topology()
    try:
        net.make()
        net.write_config(SERVICES)
        yield net
    finally:
        net.remove()


def examine(net, *before, config=None):
    """The exit status, and the findings by check and object."""
    done = net.run_in("lb", *before, os.path.join(topology.BUILD, "sluice"), "-j", "-c", config or net.config,
                      "doctor", check=False)
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {(finding["check"], finding["object"]): finding for finding in findings}


def mend(net, finding):
    net.run_in("lb", "sh", "-c", finding["command"])


def expect_mended(net, check, thing, verdict, config=None):
    """It is amiss, its command is run, and it is good."""
    status, findings = examine(net, config=config)
    found = findings[check, thing]
    assert found["verdict"] == verdict, found
    assert status == 1
    mend(net, found)
    assert examine(net, config=config)[1][check, thing]["verdict"] == "good", found


@contextlib.contextmanager
def hugepages_restored():
    with topology.hugepages_alone():
        with open("/proc/sys/vm/nr_hugepages") as file:
            before = file.read()
        try:
            yield
        finally:
            with open("/proc/sys/vm/nr_hugepages", "w") as file:
                file.write(before)


def test_ports_are_examined_before_anything_runs(host):
    findings = examine(host)[1]
    assert findings["config", host.config]["verdict"] == "good"
    assert [f["verdict"] for (check, _), f in findings.items() if check == "daemon"] == ["note"]
    for port in host.ports:
        for check in ("port.present", "port.up", "port.mtu", "port.xdp_program"):
            assert findings[check, port]["verdict"] == "good", findings[check, port]
        assert "driver veth" in findings["port.xdp", port]["found"]
    assert not [f for f in findings.values() if f["verdict"] == "fault"], findings


def test_hugepages_absent_and_then_given(host):
    config = os.path.join(host.dir, "hugepages.yaml")
    with open(host.config) as file:
        text = file.read()
    with open(config, "w") as file:
        file.write(text.replace(f"engine: {topology.ENGINE}", "engine: dpdk\n  hugepages: on\n  memory_mb: 64"))
    with hugepages_restored():
        with open("/proc/sys/vm/nr_hugepages", "w") as file:
            file.write("0")
        expect_mended(host, "hugepages", "host", "fault", config)


def test_interface_that_is_down_is_mended(host):
    host.ip("lb", "link", "set", "eth1", "down")
    expect_mended(host, "port.up", "eth1", "warning")
    host.ip("lb", "addr", "replace", "2001:db8:1::1/64", "dev", "eth1", "nodad")


def test_jumbo_frames_are_mended(host):
    host.ip("lb", "link", "set", "eth1", "mtu", "9000")
    expect_mended(host, "port.mtu", "eth1", "fault")


if topology.ENGINE == "xdp":  # the program that is at hand is DPDK's own
    def test_program_of_somebody_else_is_mended(host):
        host.ip("lb", "link", "set", "dev", "eth1", "xdp", "obj", os.path.join(topology.BUILD, "bpf/classify.bpf.o"), "sec", "xdp")
        expect_mended(host, "port.xdp_program", "eth1", "fault")


def test_others_than_root_are_told_what_they_cannot_see(host):
    status, findings = examine(host, "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    assert findings["port.present", "eth1"]["verdict"] == "good"
    assert status == examine(host)[0]


def test_running_sluice_is_heard(host):
    host.start_sluice()
    try:
        findings = examine(host)[1]
        assert findings["daemon", os.path.join(host.run_dir, "control.sock")]["verdict"] == "good"
        assert findings["daemon.step", "dataplane"]["verdict"] == "good"
        assert findings["daemon.engine", "dataplane"]["found"] == topology.ENGINE
        for port in host.ports:
            assert NAME_OF_BALANCER in findings["port.xdp_program", port]["found"]
            assert findings["port.xdp", port]["found"] == "native"
        if topology.ENGINE == "xdp":
            host.run_in("lb", "sysctl", "-qw", "net.ipv4.conf.lo.forwarding=0")
            expect_mended(host, "kernel.lo_forwarding", "net.ipv4.conf.lo.forwarding", "fault")
        # To others the programs have no names, and the socket does not answer.
        findings = examine(host, "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")[1]
        assert findings["port.xdp_program", "eth1"]["verdict"] == "unknown"
    finally:
        host.stop("dataplane")
        host.stop("sluiced")
