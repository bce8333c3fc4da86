# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Ports that are DPDK's own: the kernel sits behind a TAP, so that every frame, ARP and ND among
them, passes through the dataplane. And frames that no kernel would send."""
import os
import subprocess
import sys

import pytest
from scapy.all import (IP, IPv6, TCP, UDP, Ether, IPv6ExtHdrRouting, Raw, conf)  # pylint: disable=no-name-in-module

import topology
from test_traffic import (  # noqa: F401  the same tests on this kind of port
    test_2000_datagrams_of_all_sizes_are_echoed,
    test_kernel_answers_echo_to_the_service_address,
    test_other_addresses_of_the_host_are_the_kernels,
    test_port_that_is_no_services_is_refused_by_the_kernel,
    test_service_is_reached_after_the_client_forgot_its_neighbours,
)

KIND = "vdev"
HERE = os.path.dirname(os.path.abspath(__file__))
C, S = topology.CLIENT4, topology.SERVICE4
C6, S6 = topology.CLIENT6, topology.SERVICE6


def tcp(**more):
    return TCP(**{"sport": 1234, "dport": 80, "flags": "S", **more})


# Fragments are not here: net_af_packet has the kernel reassemble them before it hands them over.
# name, layer 3 payload (or whole with its type), the verdict that it must get
MALFORMED = [
    ("short ipv4 header", (0x0800, bytes(IP(src=C, dst=S) / tcp())[:19]), "drop_truncated"),
    ("wrong version", (0x0800, b"\x55" + bytes(IP(src=C, dst=S) / tcp())[1:]), "drop_ip_version"),
    ("header length 4", (0x0800, b"\x44" + bytes(IP(src=C, dst=S) / tcp())[1:]), "drop_ip_header_length"),
    ("total length beyond the frame", IP(src=C, dst=S, len=1400) / tcp(), "drop_ip_total_length"),
    ("bad header checksum", IP(src=C, dst=S, chksum=1) / tcp(), "drop_ip_checksum"),
    ("ttl 1", IP(src=C, dst=S, ttl=1) / tcp(), "drop_ttl"),
    ("loopback source", IP(src="127.0.0.1", dst=S) / tcp(), "drop_martian"),
    ("land", IP(src=S, dst=S) / tcp(), "drop_land"),
    ("source route", IP(src=C, dst=S, options=b"\x83\x07\x04\x01\x02\x03\x04\x00") / tcp(), "drop_source_route"),
    ("option beyond the header", IP(src=C, dst=S, options=b"\x07\x28\x04\x00") / tcp(), "drop_ip_options"),
    ("syn and fin", IP(src=C, dst=S) / tcp(flags="SF"), "drop_tcp_flags"),
    ("no flags", IP(src=C, dst=S) / tcp(flags=0), "drop_tcp_flags"),
    ("data offset 4", IP(src=C, dst=S) / tcp(dataofs=4), "drop_tcp_header"),
    ("source port 0", IP(src=C, dst=S) / tcp(sport=0), "drop_tcp_header"),
    ("udp length 7", IP(src=C, dst=S) / UDP(sport=9, dport=53, len=7), "drop_udp_header"),
    ("udp length beyond", IP(src=C, dst=S) / UDP(sport=9, dport=53, len=99), "drop_udp_header"),
    ("ipv6 udp without checksum", IPv6(src=C6, dst=S6) / UDP(sport=9, dport=53, chksum=0), "drop_udp6_checksum"),
    ("ipv6 routing header 0", IPv6(src=C6, dst=S6) / IPv6ExtHdrRouting(addresses=[S6]) / tcp(), "drop_source_route"),
    ("ipv6 payload beyond", IPv6(src=C6, dst=S6, plen=1400) / tcp(), "drop_ip_total_length"),
    ("ipv6 hop limit 1", IPv6(src=C6, dst=S6, hlim=1) / tcp(), "drop_ttl"),
    ("source is another service", IP(src="203.0.113.11", dst=S) / tcp(), "drop_source_is_service"),
    ("gre", IP(src=C, dst=S, proto=47) / Raw(b"x" * 20), "punt_protocol"),
    ("unknown ethertype", (0x88cc, b"x" * 60), "punt_ethertype"),
]


def port_mac(net):
    return net.status()["ports"][0]["mac"]


@pytest.mark.parametrize("name,packet,verdict", MALFORMED, ids=[row[0] for row in MALFORMED])
def test_malformed_frame_gets_its_own_verdict(net, name, packet, verdict):
    if "another service" in name:
        net.sluice("service", "add", "other", "203.0.113.11:80/tcp")
    conf.verb = 0
    ether = Ether(src="02:00:00:00:00:01", dst=port_mac(net))
    if isinstance(packet, tuple):
        ether.type = packet[0]
        frame = bytes(ether)[:14] + packet[1]
    else:
        frame = bytes(ether / packet)
    before = net.counters()["verdicts"][verdict]
    net.send_frames([frame] * 10)
    topology.wait_until(f"10 frames with verdict {verdict}", 5,
                        lambda: net.counters()["verdicts"][verdict] - before >= 10)
    # ARP of the kernels has this verdict too, and comes when it likes.
    assert net.counters()["verdicts"][verdict] - before == 10 or verdict == "punt_ethertype"
    if "another service" in name:
        net.sluice("service", "delete", "other")


def test_frame_for_another_host_is_dropped(net):
    before = net.counters()["verdicts"]["drop_other_host"]
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:99") / IP(src=C, dst=S) / tcp()
    net.send_frames([frame] * 5)
    topology.wait_until("5 frames dropped", 5,
                        lambda: net.counters()["verdicts"]["drop_other_host"] - before == 5)


@pytest.mark.parametrize("packet,verdict", [
    (IP(src=C, dst=S, ttl=1) / tcp(), "drop_ttl"),
    (IP(src=C, dst=S, proto=47) / Raw(b"x" * 20), "punt_protocol"),
], ids=["dropped", "punted"])
def test_5000_frames_leave_no_buffer_behind(net, packet, verdict):
    frame = Ether(src="02:00:00:00:00:01", dst=port_mac(net)) / packet
    net.send_until_counted(bytes(frame), verdict, 5000)
    net.check_buffers()


def test_held_packets_are_dropped_when_nobody_answers(net):
    """The hold takes 128; what is beyond is dropped at once, the rest after a second."""
    net.sluice("service", "add", "void", "203.0.113.12:53/udp")
    net.sluice("backend", "add", "void", "10.90.2.99:53")
    try:
        before = net.counters()["verdicts"]["drop_no_neighbour"]
        frame = Ether(src="02:00:00:00:00:01", dst=port_mac(net)) / IP(src=C, dst="203.0.113.12") / UDP(
            sport=9, dport=53)
        net.send_frames([frame] * 200)
        topology.wait_until("200 frames given up", 10,
                            lambda: net.counters()["verdicts"]["drop_no_neighbour"] - before == 200)
        net.check_buffers()
    finally:
        net.sluice("service", "delete", "void")


def test_arp_request_is_answered_through_the_dataplane(net):
    before = net.counters()
    net.ip("client", "neigh", "flush", "dev", "eth0")
    net.run_in("client", "ping", "-c", "1", "-W", "2", topology.OWN4)
    after = net.counters()
    assert after["verdicts"]["punt_multicast"] > before["verdicts"]["punt_multicast"]
    # Under XDP the kernel has the port to itself, and what it sends is not the program's affair.
    assert (after["events"]["kernel_tx"] > before["events"]["kernel_tx"]) == (topology.ENGINE == "dpdk")


SNIFF = """
import socket,sys
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3)); s.bind(('eth0',0)); s.settimeout(8)
print('ready',flush=True)
try:
    while True:
        d,a=s.recvfrom(4000)
        if a[2]!=4 and bytes.fromhex(sys.argv[1]) in d: print(d.hex(),flush=True); break
except TimeoutError: pass
"""


def sniff_forwarded(net, packet, marker):
    """The frame that carries `marker` as it reaches whichever backend it was sent to."""
    sniffers = [subprocess.Popen(net.in_ns(f"b{i}", sys.executable, "-c", SNIFF, marker.hex()),
                                 stdout=subprocess.PIPE, text=True) for i in (1, 2, 3)]
    for sniffer in sniffers:
        assert sniffer.stdout.readline() == "ready\n"
    net.send_frames([Ether(src="02:00:00:00:00:01", dst=port_mac(net)) / packet])

    def seen():
        return [s for s in sniffers if s.poll() is not None]
    try:
        done = topology.wait_until("the forwarded frame", 6, seen)
        return Ether(bytes.fromhex(done[0].stdout.read().strip()))
    finally:
        for sniffer in sniffers:
            sniffer.kill()
            sniffer.wait()


@pytest.mark.parametrize("packet", [
    IP(src=C, dst=S, ttl=33, tos=0x2b) / UDP(sport=7001, dport=53),
    IP(src=C, dst=S, ttl=33, options=b"\x94\x04\x00\x00") / UDP(sport=7002, dport=53),
    IP(src=C, dst=S, ttl=33) / UDP(sport=7003, dport=53, chksum=0),
    IPv6(src=C6, dst=S6, hlim=33, tc=0x2b) / UDP(sport=7004, dport=53),
    IP(src=C, dst=S, ttl=33) / TCP(sport=7005, dport=80, flags="A", seq=5),
], ids=["ipv4", "ipv4 options", "ipv4 zero checksum", "ipv6", "tcp"])
def test_forwarded_packet_is_whole_on_the_wire(net, packet):
    marker = os.urandom(12)
    sent = packet / Raw(marker)
    frame = sniff_forwarded(net, sent, marker)
    got = frame[IPv6] if IPv6 in frame else frame[IP]
    ref = got.copy()
    l4 = UDP if UDP in got else TCP
    if IP in got:
        assert got.ttl == 32 and got.src == C and got.tos == packet.tos
        del ref[IP].chksum
    else:
        assert got.hlim == 32 and got.src == C6 and got.tc == packet.tc
    if l4 is UDP and packet[l4].chksum == 0:
        assert got[UDP].chksum == 0
    else:
        del ref[l4].chksum
    rebuilt = ref.__class__(bytes(ref))
    assert got[l4].chksum == rebuilt[l4].chksum
    if IP in got:
        assert got[IP].chksum == rebuilt[IP].chksum
    assert got[l4].dport == (5353 if l4 is UDP else 8080)
    assert bytes(got[l4].payload)[:12] == marker


def test_corrupt_checksum_stays_corrupt_by_the_same_amount(net):
    marker = os.urandom(12)
    good = IP(bytes(IP(src=C, dst=S) / UDP(sport=7010, dport=53) / Raw(marker)))
    wrong = good[UDP].chksum ^ 0x0101
    bad = IP(src=C, dst=S) / UDP(sport=7010, dport=53, chksum=wrong) / Raw(marker)
    got = sniff_forwarded(net, bad, marker)[IP]
    ref = got.copy()
    del ref[UDP].chksum
    right = IP(bytes(ref))[UDP].chksum
    assert got[UDP].chksum != right
    assert (got[UDP].chksum - right) % 0xffff == (wrong - good[UDP].chksum) % 0xffff
