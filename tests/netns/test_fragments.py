# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Datagrams in fragments, from real kernels and to them, in both directions; and fragments in an order in
which a kernel does not send them. With two arms and with one, and on the DPDK engine with two workers,
where those of one datagram, and then its flow, have to find their owners: over IPv6 alone, for with
several queues the kernel puts a packet socket's IPv4 datagrams together. tests/pci has both."""
import os
import random
import struct
import sys

import pytest

import topology
from conftest import bring_up
from test_traffic import TARGETS

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {"two arms": ("interface", 1, False), "one arm": ("interface", 1, True)}
if topology.ENGINE == "dpdk":
    SHAPES.update({"two arms, two workers": ("vdev", 2, False), "one arm, two workers": ("vdev", 2, True)})

SIZE = 8000
N_PIECES = SIZE // 1000 + 1  # UDP's header is part of the first


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def net(request, files):
    kind, workers, one_arm = request.param
    made = bring_up(kind, files[0], workers, one_arm)
    yield made
    made.remove()


@pytest.fixture
def hosts(net):
    return TARGETS if net.workers == 1 else TARGETS[1:]


def echoed(net, host, count, pieces=None, size=SIZE):
    words = [sys.executable, os.path.join(HERE, "fragment_client.py"), "eth0", host, "53", str(size), str(count)]
    if pieces is not None:
        words.append(",".join(str(piece) for piece in pieces))
    return int(net.run_in("client", *words).stdout)


def difference(before, after, name):
    kind = "verdicts" if name in after["verdicts"] else "events"
    return after[kind][name] - before[kind][name]


def test_large_datagrams_are_echoed(net, hosts):
    for host in hosts:
        echoed(net, host, 1)  # by then the neighbours are known
        before = net.counters()
        assert echoed(net, host, 100) == 100, (before, net.counters())
        assert echoed(net, host, 10, size=60000) == 10
        after = net.counters()
        room = 1480 if "." in host else 1448
        assert difference(before, after, "fragment") == 2 * (100 * -(-(SIZE + 8) // room) + 10 * -(-60008 // room))
        assert all(difference(before, after, name) == 0 for name in after["verdicts"] if "fragment" in name)


def test_later_fragments_may_come_in_any_order(net, hosts):
    for host in hosts:
        assert echoed(net, host, 3, [0, *range(2, N_PIECES), 1]) == 3


def test_fragments_that_come_before_the_first(net, hosts):
    """DPDK keeps them for a second; XDP can keep nothing, and says so."""
    for host in hosts:
        before = net.counters()
        good = echoed(net, host, 3, [*range(1, N_PIECES), 0])
        after = net.counters()
        is_kept = topology.ENGINE == "dpdk"
        assert good == (3 if is_kept else 0)
        assert difference(before, after, "fragment_held") == (3 * (N_PIECES - 1) if is_kept else 0)
        assert difference(before, after, "drop_fragment_no_first") == (0 if is_kept else 3 * (N_PIECES - 1))


def test_fragments_whose_first_one_never_comes_are_dropped(net, hosts):
    for host in hosts:
        before = net.counters()
        assert echoed(net, host, 2, range(1, N_PIECES)) == 0
        topology.wait_until("the drops", 5, lambda: difference(
            before, net.counters(), "drop_fragment_no_first") == 2 * (N_PIECES - 1))


def test_no_more_than_16_of_a_datagram_wait(net, hosts):
    for host in hosts:
        before = net.counters()
        assert echoed(net, host, 1, [*range(1, 18), 0, 18, 19, 20], size=20000) == 0
        after = net.counters()
        if topology.ENGINE == "dpdk":
            assert difference(before, after, "fragment_held") == 16
            assert difference(before, after, "drop_fragment_full") == 17  # it will never be whole
            assert difference(before, after, "drop_fragment_overlap") == 4
        else:
            assert difference(before, after, "drop_fragment_no_first") == 17


def test_a_datagram_that_overlaps_itself_does_not_pass(net, hosts):
    for host in hosts:
        before = net.counters()
        assert echoed(net, host, 1, [0, 1, 1, *range(2, N_PIECES)]) == 1  # a duplicate does no harm
        assert difference(before, net.counters(), "drop_fragment_overlap") == 1


def links(net):
    """The client's link address and its router's."""
    assert echoed(net, topology.SERVICE4, 1) == 1
    own = net.run_in("client", "cat", "/sys/class/net/eth0/address").stdout
    router = net.ip("client", "neigh", "show", "dev", "eth0", topology.OWN4).stdout.split()
    return [bytes.fromhex(text.strip().replace(":", "")) for text in (own, router[router.index("lladdr") + 1])]


def random_fragment(rng, mac, own_mac, source):
    """IPv4, mostly right, of one of 3,000 datagrams."""
    payload = rng.randbytes(rng.choice((8, 16, 64, 7)))
    word = rng.choice((0x2000, 0)) | rng.choice((0, 1, 2, rng.randrange(8192)))
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), rng.randrange(3000), word, 64, 17, 0,
                         source, bytes(map(int, topology.SERVICE4.split("."))))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + header[12:]
    return mac + own_mac + b"\x08\x00" + header + payload


def test_a_storm_leaves_nothing_behind(net):
    """The tables fill, and are empty a second later; the invariants find a lost buffer."""
    if net.workers > 1:
        return  # of net_af_packet the kernel takes these
    rng = random.Random(5)
    own, router = links(net)
    source = bytes(map(int, topology.CLIENT4.split(".")))
    before = net.counters()

    def n_judged():
        after = net.counters()
        return sum(difference(before, after, name) for name in after["verdicts"])

    # In bursts: a driver's ring loses some of each where the machine is busy.
    for _ in range(30):
        net.send_frames([random_fragment(rng, router, own, source) for _ in range(5000)])
        if n_judged() > 20000:
            break
    topology.wait_until("the storm", 5, lambda: n_judged() > 20000)
    topology.wait_until("its end", 30, lambda: echoed(net, topology.SERVICE4, 5) == 5)
