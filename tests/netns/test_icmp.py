# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""ICMP errors about packets of flows, from real kernels: a host behind a link that is narrower than all
others, and a backend whose port is closed. With two arms and with one, and on the DPDK engine with two
workers, too, where the error has to find its flow's owner."""
import sys

import pytest

import topology
from conftest import bring_up
from test_traffic import TARGETS, url

SHAPES = {"two arms": ("interface", 1, False), "one arm": ("interface", 1, True)}
if topology.ENGINE == "dpdk":
    SHAPES.update({"two arms, two workers": ("vdev", 2, False), "one arm, two workers": ("vdev", 2, True)})

NARROW = 1300
FAR = {4: "10.90.9.2", 6: "2001:db8:9::2"}

REFUSED = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], 99))
s.send(b"is anybody there?")
try:
    s.recv(10)
except ConnectionRefusedError:
    print("refused")
"""


def add_far_host(net):
    """A host behind the client, which is a router now: frames to it are at most NARROW bytes long."""
    net.names.append("far")
    topology.run("ip", "netns", "add", net.ns("far"))
    net.ip("far", "link", "set", "lo", "up")
    net.ip("far", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", net.ns("client"))
    net.add_addresses("far", "eth0", f"{FAR[4]}/24", f"{FAR[6]}/64")
    net.add_addresses("client", "eth1", "10.90.9.1/24", "2001:db8:9::1/64")
    for name, device in (("far", "eth0"), ("client", "eth1")):
        net.quiet(name, device)
    net.ip("client", "link", "set", "eth1", "mtu", str(NARROW))
    net.ip("far", "route", "add", "default", "via", "10.90.9.1")
    net.ip("far", "route", "add", "default", "via", "2001:db8:9::1")
    net.run_in("client", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    net.ip("lb", "route", "add", "10.90.9.0/24", "via", topology.CLIENT4)
    net.ip("lb", "route", "add", "2001:db8:9::/64", "via", topology.CLIENT6)


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def net(request, files):
    kind, workers, one_arm = request.param
    made = bring_up(kind, files[0], workers, one_arm)
    try:
        add_far_host(made)
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize("host", TARGETS)
def test_backends_learn_of_a_narrow_link(net, files, host):
    """Their segments are not to be fragmented, so they arrive only if the backend hears of the link."""
    before = net.counters()["events"]["icmp_error"]
    for _ in range(6):  # whichever backends and workers that comes to
        done = net.run_in("far", "bash", "-c",
                          f"set -o pipefail; curl -sfg --max-time 20 '{url(host, 'mega')}' | sha256sum")
        assert done.stdout.split()[0] == files[1]["mega"]
    assert net.counters()["events"]["icmp_error"] > before


@pytest.mark.parametrize("host", TARGETS)
def test_clients_learn_of_a_closed_port(net, host):
    is_six = ":" in host
    backend = f"[{topology.backend6(1)}]:9999" if is_six else f"{topology.backend4(1)}:9999"
    sources = topology.SOURCES6 if is_six else topology.SOURCES4
    mode = ["mode", "fullnat", *(word for source in sources for word in ("source", source))] if net.one_arm else []
    before = net.counters()["events"]["icmp_error"]
    net.sluice("service", "add", "deaf", f"[{host}]:99/udp" if is_six else f"{host}:99/udp", *mode)
    try:
        net.sluice("backend", "add", "deaf", backend)
        topology.wait_until("the neighbour", 10, lambda: all(
            row["neighbour"] for row in net.json("backend", "list", "deaf")["backends"]))
        assert net.run_in("client", sys.executable, "-c", REFUSED, host).stdout == "refused\n"
        assert net.counters()["events"]["icmp_error"] > before
    finally:
        net.sluice("service", "delete", "deaf")


# Linux: IP_RECVERR = 11, IP_TTL = 2; of IPv6 25, 16. An error's origin 2 is ICMP, 3 ICMPv6.
TRACE = """
import select, socket, struct, sys
host = sys.argv[1]
is_six = ":" in host
level, receive_errors, hops = (socket.IPPROTO_IPV6, 25, 16) if is_six else (socket.IPPROTO_IP, 11, 2)
for ttl in (1, 2):
    s = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(level, receive_errors, 1)
    s.setsockopt(level, hops, ttl)
    s.connect((host, 53))
    s.send(b"how far is it?")
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLERR)
    events = poll.poll(5000)
    if not events:
        print("nothing")
    elif events[0][1] & select.POLLERR:
        data = s.recvmsg(100, 512, socket.MSG_ERRQUEUE)[1][0][2]
        kind, code = struct.unpack_from("BB", data, 5)
        by = data[16 + 8:16 + 24] if is_six else data[16 + 4:16 + 8]
        print(kind, code, socket.inet_ntop(s.family, by))
    else:
        print("answered")
"""


@pytest.mark.parametrize("host", TARGETS)
def test_a_trace_ends_at_the_service(net, host):
    """The balancer is a hop like others (RFC 1812 5.3.1), in the service's name."""
    before = net.counters()["events"]["time_exceeded_sent"]
    done = net.run_in("client", sys.executable, "-c", TRACE, host)
    assert done.stdout.splitlines() == [f"{3 if ':' in host else 11} 0 {host}", "answered"]
    assert net.counters()["events"]["time_exceeded_sent"] == before + 1
