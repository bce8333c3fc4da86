# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What becomes of clients' SYNs is counted for the backend that they went to, and for no other."""
import random
import sys

import pytest
from scapy.all import IP, TCP, Ether

import conftest
import topology
from topology import backend4, backend6, wait_until

EMBRYONIC_SEC = 2
# Connects so often, and says how often nobody answered, how often it was refused, and how often not.
CONNECT = (
    "import socket,sys\n"
    "host,port,count,patience=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),float(sys.argv[4])\n"
    "seen={'open':0,'refused':0,'silent':0}\n"
    "for i in range(count):\n"
    " try:\n"
    "  socket.create_connection((host,port),patience).close(); seen['open']+=1\n"
    " except ConnectionRefusedError: seen['refused']+=1\n"
    " except TimeoutError: seen['silent']+=1\n"
    "print(seen['open'],seen['refused'],seen['silent'])\n")
WORDS = ("syns", "syn_acks", "refused", "unanswered", "resets")


def services(one_arm):
    pool = {4: {"mode": "fullnat", "source": topology.SOURCES4}, 6: {"mode": "fullnat", "source": topology.SOURCES6}}
    chosen = {}
    for name, family, port, at, more in (("web", 4, 80, 8080, {}), ("web6", 6, 80, 8080, {}),
                                         ("told", 4, 81, 8081, {"proxy_protocol": "v2"})):
        address, backend = (topology.SERVICE4, backend4) if family == 4 else (f"[{topology.SERVICE6}]", lambda i: f"[{backend6(i)}]")
        chosen[name] = (f"{address}:{port}/tcp", [(f"{backend(i)}:{at}", 1) for i in (1, 2, 3)],
                        {"embryonic": EMBRYONIC_SEC}, {**(pool[family] if one_arm else {}), **more})
    return chosen


@pytest.fixture(scope="module", params=[False, True], ids=["nat", "fullnat"])
def net(request, files):
    with topology.topology(one_arm=request.param, root=files[0]) as net:
        net.write_config(services(request.param))
        net.start_sluice()
        yield net


def openings(net, service):
    """What is counted of each backend of a service, in their order."""
    listed = sorted(net.json("backend", "list", service)["backends"], key=lambda b: b["address"])
    return [b["counters"] for b in listed]


class Counted:
    """What is counted from here on."""

    def __init__(self, net, service):
        self.net, self.service, self.before = net, service, openings(net, service)

    def __call__(self, word):
        return [now[word] - was[word] for now, was in zip(openings(self.net, self.service), self.before)]

    def all(self):
        return {word: self(word) for word in WORDS}


def connect(net, service, count=40, patience=5.0):
    host = topology.SERVICE6 if service == "web6" else topology.SERVICE4
    done = net.run_in("client", sys.executable, "-c", CONNECT, host, "81" if service == "told" else "80",
                      str(count), str(patience))
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("service", ["web", "web6", "told"])
def test_an_answered_syn_is_counted_with_its_time(net, service):
    counted = Counted(net, service)
    assert connect(net, service) == [40, 0, 0]
    assert sum(counted("syns")) == 40 and counted("syn_acks") == counted("syns"), counted.all()
    assert all(counted(word) == [0, 0, 0] for word in ("refused", "unanswered", "resets")), counted.all()
    for number, us in zip(counted("syn_acks"), counted("syn_ack_us")):
        assert number and 0 < us / number < 500_000


@pytest.mark.parametrize("service", ["web", "web6", "told"])
def test_a_closed_port_is_a_refusal_of_that_backend_alone(net, files, service):
    port = {"told": 8081}.get(service, 8080)
    net.run_in("b2", "nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; "
               f"add rule inet deaf in tcp dport {port} reject with tcp reset")
    counted = Counted(net, service)
    try:
        opened, refused, silent = connect(net, service)
        assert refused > 0 and silent == 0
        assert counted("refused") == [0, refused, 0]
        assert sum(counted("syn_acks")) == opened and counted("syn_acks")[1] == 0
    finally:
        net.run_in("b2", "nft", "delete table inet deaf")
    assert connect(net, service, 10)[1:] == [0, 0]


@pytest.mark.parametrize("service", ["web", "web6"])
def test_a_syn_that_nobody_answers_is_counted_when_its_flow_ends(net, service):
    net.run_in("b2", "nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; "
               "add rule inet deaf in tcp dport 8080 drop")
    counted = Counted(net, service)
    try:
        opened, refused, silent = connect(net, service, 20, 0.2)
        assert silent > 0 and refused == 0
        wait_until(lambda: f"the flows to end: {counted.all()}", 20, lambda: counted("unanswered") == [0, silent, 0])
        assert sum(counted("syns")) == 20 and sum(counted("syn_acks")) == opened and counted("syn_acks")[1] == 0
    finally:
        net.run_in("b2", "nft", "delete table inet deaf")


def test_a_flood_from_nowhere_says_nothing_against_a_backend(net):
    """Whoever the clients are said to be, the backend answers its SYNs. What the table refuses is not counted."""
    mac = net.run_in("lb", "cat", f"/sys/class/net/{net.ports[0]}/address").stdout.strip()
    net.ip("lb", "route", "replace", "198.18.0.0/15", "via", topology.CLIENT4)
    counted = Counted(net, "web")
    before = net.counters()["events"]
    sources = random.Random(7)
    frames = [bytes(Ether(dst=mac) / IP(src=f"198.18.{i >> 8}.{i & 255}", dst=topology.SERVICE4) /
                    TCP(sport=1024 + i, dport=80, flags="S", seq=sources.getrandbits(32))) for i in range(1500)]
    # A few at a time: what a queue between us and the backends loses is not answered, and nobody sends it again.
    for n in range(100, len(frames) + 1, 100):
        net.send_frames(frames[n - 100:n])
        wait_until(lambda: f"most of {n} to be counted, and all of these decided: {counted.all()}", 30,
                   lambda: sum(counted("syns")) >= n * 2 // 3 and
                   [a + u for a, u in zip(counted("syn_acks"), counted("unanswered"))] == counted("syns"))
    created = net.counters()["events"]["flow_created"] - before["flow_created"]
    assert sum(counted("syns")) <= created
    assert counted("unanswered") == [0, 0, 0] and counted("refused") == [0, 0, 0], counted.all()
    assert counted("resets") == [0, 0, 0]
    listed = net.sluice("backend", "list", "web").stdout
    assert " ms " in listed and "SYN-ACK" in listed
