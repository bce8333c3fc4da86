# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Backends that are told of the client by the PROXY protocol: what nginx, HAProxy and a server that
speaks first make of it, on paths that lose packets too. With two arms (mode nat) and with one (fullnat)."""
import functools
import itertools
import json
import os
import sys

import pytest

import topology
from conftest import bring_up
from test_traffic import TARGETS

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {"two arms": ("interface", 1, False), "one arm": ("interface", 1, True)}
if topology.ENGINE == "dpdk":
    SHAPES["one arm, two workers"] = ("vdev", 2, True)

# What listens: the service's port, the backends', and the protocols.
TOLD = {"nginx": (81, 8081, ["tcp"]), "haproxy": (82, 8082, ["tcp"]), "server": (83, 8083, ["tcp", "udp"])}
HEADER = {4: 28, 6: 52}
PORTS = itertools.count(25001)  # curl takes none that lingers

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout client 20s
    timeout connect 5s
    timeout server 20s
frontend told
    bind :::8082 v4v6 accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]\\n"
"""

DATAGRAMS = """
import hashlib, os, socket, sys
host, port = sys.argv[1], int(sys.argv[2])
is_six = ":" in host
right = 0
for size in [0, 1, 500, (1452 if is_six else 1472) - (52 if is_six else 28)] * 25:
    with socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((host, port))
        data = os.urandom(size)
        s.send(data)
        address, own_port = s.getsockname()[:2]
        digest = hashlib.sha256(data).hexdigest()
        right += s.recv(65536).decode() == f"{address} {own_port} {host} {port} {digest}"
print(right)
"""


# Linux: IP_MTU_DISCOVER = 10, IP_PMTUDISC_DO = 2, IP_MTU = 14; of IPv6 23, 2, 24.
TOLD_SIZE = """
import socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
is_six = ":" in host
s = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, mtu = (socket.IPPROTO_IPV6, 23, 24) if is_six else (socket.IPPROTO_IP, 10, 14)
s.setsockopt(level, discover, 2)
s.connect((host, port))
wanted = 1500 - (52 if is_six else 28)
end = time.monotonic() + 10
s.send(bytes(1452 if is_six else 1472))
while s.getsockopt(level, mtu) != wanted and time.monotonic() < end:
    time.sleep(0.01)
try:
    s.send(bytes(1452 if is_six else 1472))
except OSError:
    print("told" if s.getsockopt(level, mtu) == wanted else s.getsockopt(level, mtu))
"""


def start_backends(net):
    config = os.path.join(net.dir, "haproxy.cfg")
    with open(config, "w") as file:
        file.write(HAPROXY)
    for i in (1, 2, 3):
        net.start(f"haproxy{i}", f"b{i}", "haproxy", "-db", "-f", config)
        net.start(f"told{i}", f"b{i}", sys.executable, os.path.join(HERE, "proxy_server.py"), "8083")
    for i in (1, 2, 3):
        for port in (8082, 8083):
            topology.wait_until(f"port {port} of b{i}", 20, lambda i=i, port=port: f":{port}" in net.run_in(
                f"b{i}", "ss", "-Hltn").stdout)


def add_services(net):
    for name, (port, backend_port, protocols) in TOLD.items():
        for host in TARGETS:
            is_six = ":" in host
            sources = topology.SOURCES6 if is_six else topology.SOURCES4
            mode = ["mode", "fullnat", *(w for source in sources for w in ("source", source))] if net.one_arm else []
            for protocol in protocols:
                service = f"{name}-{protocol}{6 if is_six else 4}"
                net.sluice("service", "add", service, f"[{host}]:{port}/{protocol}" if is_six else
                           f"{host}:{port}/{protocol}", "proxy_protocol", "v2", *mode)
                for i in (1, 2, 3):
                    net.sluice("backend", "add", service, f"[{topology.backend6(i)}]:{backend_port}" if is_six else
                               f"{topology.backend4(i)}:{backend_port}")
    topology.wait_until("the neighbours", 15, lambda: all(
        row["neighbour"] for row in net.json("backend", "list")["backends"]))


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def net(request, files):
    kind, workers, one_arm = request.param
    made = bring_up(kind, files[0], workers, one_arm)
    try:
        start_backends(made)
        add_services(made)
        yield made
    finally:
        made.remove()


@pytest.fixture
def lossy(net):
    """Each peer loses 3 of 100 of the segments that come to it."""
    peers = ("client", "b1", "b2", "b3")
    for name in peers:
        net.run_in(name, "nft", "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; "
                   "add rule inet loss in meta l4proto tcp numgen random mod 100 < 3 drop")
    yield
    for name in peers:
        net.run_in(name, "nft", "delete table inet loss")


def talk(net, host, count, size):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "proxy_client.py"), host, "83", str(count), str(size))
    return json.loads(done.stdout)


@pytest.mark.parametrize("host", TARGETS)
@pytest.mark.parametrize("name, path", [("nginx", "told"), ("haproxy", "")])
def test_servers_are_told_of_the_client(net, host, name, path):
    for local_port in itertools.islice(PORTS, 20):
        where = f"http://[{host}]:{TOLD[name][0]}/{path}" if ":" in host else f"http://{host}:{TOLD[name][0]}/{path}"
        done = net.run_in("client", "curl", "-sfg", "--max-time", "10", "--local-port", str(local_port), where)
        client = topology.CLIENT6 if ":" in host else topology.CLIENT4
        assert done.stdout == f"{client} {local_port}\n"


@pytest.mark.parametrize("host", TARGETS)
@pytest.mark.parametrize("name", ["mega", "big"])
def test_body_arrives_with_the_right_hash(net, files, host, name):
    where = f"http://[{host}]:81/{name}" if ":" in host else f"http://{host}:81/{name}"
    done = net.run_in("client", "bash", "-c", f"set -o pipefail; curl -sfg --max-time 120 '{where}' | sha256sum")
    assert done.stdout.split()[0] == files[1][name]


@pytest.mark.parametrize("host", TARGETS)
def test_server_that_speaks_first(net, host):
    """A connection whose client is silent, then full segments from the first one on, both ways."""
    before = net.counters()["verdicts"]
    result = talk(net, host, 50, 100_000)
    assert result["right"] == 50, result
    after = net.counters()["verdicts"]
    for verdict in ("drop_too_big", "drop_before_header"):
        assert after[verdict] == before[verdict]
    # Of the backends' own segments nothing is taken: they may be as large as ever.
    assert result["segment"] >= 1400


@pytest.mark.parametrize("host", TARGETS)
def test_bytes_are_right_where_packets_are_lost(net, lossy, host):
    for count, size in ((40, 3_000), (4, 1_000_000)):
        result = talk(net, host, count, size)
        assert result["right"] == count, result


@pytest.mark.parametrize("host", TARGETS)
def test_datagrams_tell_of_the_client(net, host):
    done = net.run_in("client", sys.executable, "-c", DATAGRAMS, host, "83")
    assert done.stdout == "100\n"


@pytest.fixture
def ignorant(net):
    """The client knows nothing of path MTUs, and forgets what it is told."""
    flush = [functools.partial(net.ip, "client", family, "route", "flush", "cache") for family in ("-4", "-6")]
    for each in flush:
        each()
    yield
    for each in flush:
        each()


@pytest.mark.parametrize("host", TARGETS)
def test_datagram_that_does_not_fit_with_its_header_is_counted(net, ignorant, host):
    before = net.counters()["verdicts"]["drop_too_big"]
    script = ("import socket,sys\n"
              f"s=socket.socket(socket.{'AF_INET6' if ':' in host else 'AF_INET'},socket.SOCK_DGRAM)\n"
              f"s.sendto(bytes({(1452 if ':' in host else 1472) - HEADER[6 if ':' in host else 4] + 1}), ('{host}', 83))\n")
    net.run_in("client", sys.executable, "-c", script)
    topology.wait_until("the drop", 5, lambda: net.counters()["verdicts"]["drop_too_big"] == before + 1)


@pytest.mark.parametrize("host", TARGETS)
def test_clients_learn_how_large_their_datagrams_may_be(net, ignorant, host):
    before = net.counters()["events"]["too_big_sent"]
    assert net.run_in("client", sys.executable, "-c", TOLD_SIZE, host, "83").stdout == "told\n"
    assert net.counters()["events"]["too_big_sent"] > before
