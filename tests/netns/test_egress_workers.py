# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""test_egress.py with several workers: a source's worker is its client's, and between two clients of
different workers a packet is both's."""
from test_egress import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from test_egress import FAMILIES, HOST, OUTSIDE, Endpoint, fill_ports, send_large

KIND = "vdev"
WORKERS = 3


def test_large_datagrams(net):
    """Not of IPv4: the kernel puts them together before packet sockets of several queues see them."""
    send_large(net, 6)


@FAMILIES
def test_as_many_as_there_are_ports(net, family):
    """Each worker has the ports that lead to it."""
    sources, n_refused = fill_ports(net, family, 4015, 40)
    assert len(sources) + n_refused == 40 and 8 <= len(sources) <= 16


def test_packets_change_hands(net):
    for i in range(8):
        with Endpoint(net, "b1", HOST[4](1)) as inside, Endpoint(net, "client", OUTSIDE[4][0], 7051) as server:
            inside.send(server.addr, server.port, str(i))
            assert server.receive()[0] == str(i)
    assert net.counters()["events"]["handoff"] > 0
