# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""test_egress.py with several workers: a source's worker is its client's, and between two clients of
different workers a packet is both's. Not what the daemon alone decides."""
from test_egress import (  # noqa: F401
    FAMILIES, HOST, OUTSIDE, Endpoint, denying, egress, fill_ports, send_large, test_a_connection_that_is_denied_ends,
    test_dataplane_killed, test_denied, test_echo, test_errors_come_in, test_expired, test_from_host_to_host, test_http,
    test_one_source_for_all_the_world, test_the_hosts_are_backends_still)

KIND = "vdev"
WORKERS = 3


def test_large_datagrams(net):
    """Not of IPv4: the kernel puts them together before packet sockets of several queues see them."""
    send_large(net, 6)


@FAMILIES
def test_as_many_as_there_are_ports(net, family):
    """Each worker has the ports that lead to it."""
    sources, n_refused = fill_ports(net, family, 4015, 30)
    assert len(sources) + n_refused == 30 and 8 <= len(sources) <= 16


def test_packets_change_hands(net):
    for i in range(8):
        with Endpoint(net, "b1", HOST[4](1)) as inside, Endpoint(net, "client", OUTSIDE[4][0], 7051) as server:
            inside.send(server.addr, server.port, str(i))
            assert server.receive()[0] == str(i)
    assert net.counters()["events"]["handoff"] > 0
