# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Mode fullnat with one port: backends that know nothing of the balancer and have no route to the
client. All that test_traffic.py asks of two arms, and what is fullnat's own."""
import contextlib
import json
import os
import sys

import pytest

import topology
from test_traffic import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from test_traffic import TARGETS, http, url

ONE_ARM = True
HERE = os.path.dirname(os.path.abspath(__file__))

# Opens TCP connections from fixed ports, keeps them, and says how many were refused, in ms each.
HOLD = """
import json, socket, sys, time
host, port, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
held, refused = [], []
for i in range(count):
    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    s.settimeout(5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', first + i))
    start = time.monotonic()
    try:
        s.connect((host, port))
        held.append(s)
    except ConnectionRefusedError:
        refused.append((time.monotonic() - start) * 1000)
print(json.dumps({'held': len(held), 'refused': refused}), flush=True)
sys.stdin.read()
"""


def test_backend_sees_the_clients_address(net):
    """Not here: it sees the sources, and all of them are used."""
    for host, sources in zip(TARGETS, (topology.SOURCES4, topology.SOURCES6)):
        seen = {net.run_in("client", "curl", "-sfg", url(host, "who")).stdout.strip() for _ in range(30)}
        assert seen == set(sources)


def sources_differ(net, at_least):
    """Of 500 flows, of which @at_least still live when they are looked at."""
    http(net, topology.SERVICE4, 500, 15000)
    flows = net.json("flow", "list", "service", "web", "limit", "10000")["flows"]
    ways_back = [(flow["source"], flow["backend"]) for flow in flows]
    assert len(flows) >= at_least and len(set(ways_back)) == len(ways_back)
    assert {flow["source"].rsplit(":", 1)[0] for flow in flows} == set(topology.SOURCES4)


def test_no_two_live_flows_share_a_source(net):
    sources_differ(net, 500)


@contextlib.contextmanager
def held(net, port, first, count):
    """The connections of HOLD, for as long as the block runs."""
    process = net.start("hold", "client", sys.executable, "-c", HOLD, topology.SERVICE4, str(port), str(first),
                        str(count), stdin=-1)
    try:
        topology.wait_until("connections", 20, lambda: net.log("hold").endswith("}\n"))
        yield json.loads(net.log("hold").splitlines()[-1])
    finally:
        process.stdin.close()
        process.wait(10)
        net.processes.pop("hold")
        os.unlink(os.path.join(net.dir, "hold.log"))


def small_service(net, name, port, backend):
    net.sluice("service", "add", name, f"{topology.SERVICE4}:{port}/tcp", "mode", "fullnat", "source",
               topology.SOURCES4[0], "source_ports", "4000-4015")
    net.sluice("backend", "add", name, f"{backend}:8080")
    topology.wait_until("the neighbour", 10, lambda: all(
        b["neighbour"] for b in net.json("backend", "list", name)["backends"]))


def used(net, name):
    return [source["flows"] for backend in net.json("backend", "list", name)["backends"]
            for source in backend["sources"]]


def all_closed(net, name):
    """Both sides' last words were seen: the backend has forgotten, or will for a new connection."""
    return all(flow["state"] == "closed" for flow in net.json("flow", "list", "service", name)["flows"])


def test_16_ports_serve_16_flows_to_each_backend_and_refuse_the_17th(net):
    small_service(net, "small", 8001, topology.backend4(1))
    small_service(net, "other", 8002, topology.backend4(2))
    before = net.counters()
    with held(net, 8001, 24000, 17) as result:
        assert result["held"] == 16 and len(result["refused"]) == 1, result
        assert result["refused"][0] < 500, result  # told at once, not timed out
        assert used(net, "small") == [16] and used(net, "other") == [0]
        with_ports = net.sluice("backend", "list", "small").stdout
        assert "SOURCE-PORTS" in with_ports and "16/16" in with_ports
        other = net.run_in("client", "curl", "-sf", f"http://{topology.SERVICE4}:8002/name")
        assert other.stdout == "backend2\n"
    after = net.counters()
    assert after["verdicts"]["drop_no_source_port"] - before["verdicts"]["drop_no_source_port"] == 1
    assert after["events"]["reset_sent"] - before["events"]["reset_sent"] == 1
    # The connections have ended: their ports are given again, to connections that backends take.
    for first in (21000, 22000, 23000):
        topology.wait_until("the connections' ends", 10, lambda: all_closed(net, "small"))
        with held(net, 8001, first, 16) as result:
            assert result["held"] == 16, (first, result)
    assert net.counters()["events"]["source_port_reused"] > after["events"]["source_port_reused"]
    for name in ("small", "other"):
        net.sluice("service", "delete", name)


def test_udp_client_is_told_when_no_port_is_left(net):
    net.sluice("service", "add", "one", f"{topology.SERVICE4}:8003/udp", "mode", "fullnat", "source",
               topology.SOURCES4[1], "source_ports", "5000")
    net.sluice("backend", "add", "one", f"{topology.backend4(1)}:5353")
    topology.wait_until("the neighbour", 10, lambda: all(
        b["neighbour"] for b in net.json("backend", "list", "one")["backends"]))
    script = ("import socket\n"
              "a=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); b=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
              f"for s in (a,b): s.settimeout(3); s.connect(('{topology.SERVICE4}',8003)); s.send(b'x')\n"
              "print(len(a.recv(100)) > 0)\n"
              "try:\n b.recv(10)\nexcept ConnectionRefusedError:\n print('refused')\n")
    assert net.run_in("client", sys.executable, "-c", script).stdout.split() == ["True", "refused"]
    net.sluice("service", "delete", "one")


def test_client_is_reset_when_its_backend_is_deleted(net):
    net.sluice("service", "add", "brief", f"{topology.SERVICE4}:8004/tcp", "mode", "fullnat", "source",
               topology.SOURCES4[0])
    net.sluice("backend", "add", "brief", f"{topology.backend4(1)}:8080")
    topology.wait_until("the neighbour", 10, lambda: all(
        b["neighbour"] for b in net.json("backend", "list", "brief")["backends"]))
    script = ("import socket,sys\n"
              f"s=socket.create_connection(('{topology.SERVICE4}',8004),5); print('up',flush=True)\n"
              "sys.stdin.readline()\n"
              "s.send(b'GET /name HTTP/1.0\\r\\n\\r\\n')\n"
              "try:\n s.recv(100); print('answered')\nexcept ConnectionResetError:\n print('reset')\n")
    process = net.start("brief", "client", sys.executable, "-c", script, stdin=-1, text=True)
    topology.wait_until("the connection", 10, lambda: "up" in net.log("brief"))
    net.sluice("backend", "delete", "brief", f"{topology.backend4(1)}:8080")
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait(10)
    net.processes.pop("brief")
    assert net.log("brief").split() == ["up", "reset"]
    net.sluice("service", "delete", "brief")


def test_sources_are_changed_while_connections_live(net, files):
    """The flows go on as they began; new ones use the new address alone."""
    net.sluice("service", "add", "moving", f"{topology.SERVICE4}:8005/tcp", "mode", "fullnat", "source",
               topology.SOURCES4[0])
    net.sluice("backend", "add", "moving", f"{topology.backend4(1)}:8080")
    topology.wait_until("the neighbour", 10, lambda: all(
        b["neighbour"] for b in net.json("backend", "list", "moving")["backends"]))
    download = net.start("download", "client", "bash", "-c",
                         f"curl -sf --limit-rate 60M http://{topology.SERVICE4}:8005/big | sha256sum")
    topology.wait_until("the download", 10, lambda: net.json("flow", "list", "service", "moving")["flows"])
    net.sluice("service", "set", "moving", "source", topology.SOURCES4[1])
    for _ in range(5):
        seen = net.run_in("client", "curl", "-sf", f"http://{topology.SERVICE4}:8005/who").stdout.strip()
        assert seen == topology.SOURCES4[1]
    assert download.wait(60) == 0
    net.processes.pop("download")
    assert net.log("download").split()[0] == files[1]["big"]
    net.sluice("service", "delete", "moving")


@pytest.mark.parametrize("host", TARGETS)
def test_restarted_dataplane_keeps_its_flows_or_says_that_they_are_gone(net, host):
    """XDP keeps them. DPDK has none then, and a client of fullnat is told with its next packet."""
    script = ("import socket,sys\n"
              f"s=socket.create_connection(('{host}',80),5); print('up',flush=True)\n"
              "sys.stdin.readline()\n"
              "s.settimeout(10); s.send(b'GET /name HTTP/1.0\\r\\n\\r\\n')\n"
              "try:\n s.recv(100); print('answered')\nexcept ConnectionResetError:\n print('reset')\n")
    process = net.start("long", "client", sys.executable, "-c", script, stdin=-1, text=True)
    topology.wait_until("the connection", 10, lambda: "up" in net.log("long"))
    net.stop("dataplane")
    net.start_dataplane()
    net.wait_in_step()
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait(15)
    net.processes.pop("long")
    said = net.log("long").split()
    os.unlink(os.path.join(net.dir, "long.log"))
    assert said == ["up", "answered" if topology.ENGINE == "xdp" else "reset"]
