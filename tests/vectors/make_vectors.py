#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Prints packets.txt: a packet vector a line, built by scapy and so independently of our own code.

    NAME DIRECTION VERDICT FRAME-IN FRAME-OUT

DIRECTION is forward (a client's packet to a service) or reply (a backend's). Tables are the same
for every row: client C port 40000, service S port 80, backend B port 8080; the frame out carries the
next hop's link addresses. Output frames have their checksums computed in full, except where the
input's was zero or wrong. FRAME-OUT is - where nothing is sent. Every executor (the core, an engine)
must agree byte for byte.
"""
from scapy.all import (IP, UDP, TCP, Dot1Q, Ether, ICMP, IPv6, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, raw)

C, S, B = "198.51.100.7", "203.0.113.10", "10.0.0.2"
C6, S6, B6 = "2001:db8:1::7", "2001:db8:100::10", "2001:db8:2::2"
IN = {"src": "02:00:00:00:00:02", "dst": "02:00:00:00:00:01"}
OUT = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:aa"}


def row(name, direction, verdict, frame, out=None):
    print(name, direction, verdict, raw(frame).hex(), raw(out).hex() if out is not None else "-")


def layers(family, direction, is_out, **ip):
    """Ethernet-less IP header of the packet as it comes in or goes out."""
    client, service, backend = (C, S, B) if family == 4 else (C6, S6, B6)
    source, destination = (client, service) if direction == "forward" else (backend, client)
    if is_out:
        source, destination = (client, backend) if direction == "forward" else (service, client)
    return (IP if family == 4 else IPv6)(src=source, dst=destination, **ip)


def ports(direction, is_out):
    if direction == "forward":
        return {"sport": 40000, "dport": 8080 if is_out else 80}
    return {"sport": 80 if is_out else 8080, "dport": 40000}


def pair(name, family, direction, l4, payload, middle=None, tags=(), ip=None, trailer=b"", **fields):
    frames = []
    for is_out in (False, True):
        ttl = {"ttl" if family == 4 else "hlim": 63 if is_out else 64}
        packet = Ether(**(OUT if is_out else IN))
        for vid in tags:
            packet = packet / Dot1Q(vlan=vid, prio=3)
        packet = packet / layers(family, direction, is_out, **ttl, **(ip or {}))
        if middle is not None:
            packet = packet / middle.copy()
        packet = packet / l4(**ports(direction, is_out), **fields) / Raw(payload)
        frames.append(Raw(raw(packet) + trailer))
    row(name, direction, direction, *frames)


def good_rows():
    for family in (4, 6):
        for l4, fields in ((TCP, {"flags": "PA", "seq": 7, "ack": 9}), (UDP, {})):
            for direction in ("forward", "reply"):
                for size in (0, 1, 2, 511, 1400):
                    for tags in ((), (5,)):
                        pair(f"v{family}-{l4.__name__.lower()}-{direction}-{size}{'-vlan' if tags else ''}",
                             family, direction, l4, bytes(i * 11 & 255 for i in range(size)), tags=tags, **fields)
    for flags in ("S", "SA", "A", "FA", "R", "RA", "PA", "SEC", "PAU"):
        pair(f"tcp-flags-{flags}", 4, "forward", TCP, b"", flags=flags)
    # RFC 3168, RFC 2474: ECN and DSCP go through untouched.
    for tos in (1, 2, 3, 0xb8, 0xff):
        pair(f"tos-{tos}", 4, "forward", TCP, b"x", ip={"tos": tos}, flags="A")
        pair(f"class-{tos}", 6, "reply", TCP, b"x", ip={"tc": tos, "fl": 0xabcde}, flags="A")
    # RFC 791: options by the header's length; RFC 2113 router alert, record route, 40 bytes.
    for name, options in (("alert", b"\x94\x04\x00\x00"), ("nop", b"\x01" * 4), ("record", b"\x07\x07\x04" + b"\0" * 5),
                          ("full", b"\x07\x27\x04" + b"\0" * 37), ("end", b"\x00\xff\xff\xff")):
        pair(f"options-{name}", 4, "forward", UDP, b"data", ip={"options": options})
    for ident in (0, 1, 0xffff):
        pair(f"id-{ident}", 4, "reply", TCP, b"", ip={"id": ident, "flags": "DF"}, flags="A")
    # RFC 768: no checksum stays no checksum.
    pair("udp-no-checksum", 4, "forward", UDP, b"abc", chksum=0)
    # RFC 8200: extension headers, up to eight; RFC 6946: an atomic fragment is whole.
    pair("hop-by-hop", 6, "forward", TCP, b"x", middle=IPv6ExtHdrHopByHop(options=PadN(optdata=b"\0" * 4)), flags="A")
    pair("destination-options", 6, "forward", UDP, b"x", middle=IPv6ExtHdrDestOpt(options=PadN(optdata=b"\0" * 12)))
    pair("atomic-fragment", 6, "forward", UDP, b"x", middle=IPv6ExtHdrFragment(id=77))
    chain = IPv6ExtHdrDestOpt()
    for _ in range(7):
        chain = chain / IPv6ExtHdrDestOpt()
    pair("eight-extensions", 6, "forward", TCP, b"x", middle=chain, flags="A")
    # IEEE 802.3: short frames are padded; the trailer goes along and is no payload.
    pair("padded", 4, "forward", TCP, b"", trailer=b"\0" * 6, flags="A")
    pair("trailer", 6, "reply", UDP, b"x", trailer=b"\xaa" * 9)
    pair("tcp-options", 4, "forward", TCP, b"", flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)])


def corrupt_rows():
    """A wrong layer-4 checksum leaves wrong by the same amount (RFC 1624)."""
    for family in (4, 6):
        for l4, at in ((TCP, 16), (UDP, 6)):
            for error in (1, 0x0101, 0x8000):
                frames = []
                for is_out in (False, True):
                    ttl = {"ttl" if family == 4 else "hlim": 63 if is_out else 64}
                    head = Ether(**(OUT if is_out else IN)) / layers(family, "forward", is_out, **ttl)
                    frame = bytearray(raw(head / l4(**ports("forward", is_out)) / Raw(b"payload")))
                    offset = 14 + (20 if family == 4 else 40) + at
                    value = int.from_bytes(frame[offset:offset + 2], "big") + error
                    value = (value & 0xffff) + (value >> 16)
                    frame[offset:offset + 2] = value.to_bytes(2, "big")
                    frames.append(Raw(bytes(frame)))
                row(f"corrupt-v{family}-{l4.__name__.lower()}-{error}", "forward", "forward", *frames)


def refused(name, verdict, packet, cut=None, patch=None):
    frame = bytearray(raw(Ether(**IN) / packet))
    for at, value in (patch or {}).items():
        frame[at] = value
    row(name, "forward", verdict, Raw(bytes(frame[:cut])))


def expired(into, told_by):
    """What the sender of a packet is told that may go no further, quoting it (RFC 792, RFC 4443)."""
    ether = Ether(src=into[Ether].dst, dst=into[Ether].src)
    if into.haslayer(IPv6):
        return ether / IPv6(src=told_by, dst=into[IPv6].src, hlim=64) / ICMPv6TimeExceeded() / Raw(raw(into)[14:14 + 48])
    return ether / IP(src=told_by, dst=into[IP].src, ttl=64, id=0, flags="DF") / ICMP(type=11) / Raw(raw(into)[14:14 + 28])


def expired_row(name, direction, packet, told_by):
    into = Ether(raw(Ether(**IN) / packet))
    row(name, direction, "drop_ttl", into, expired(into, told_by))


def refused_rows():
    ip, ip6 = IP(src=C, dst=S), IPv6(src=C6, dst=S6)
    syn, datagram = TCP(sport=40000, dport=80, flags="S"), UDP(sport=40000, dport=80)
    for name, packet in (("v4-tcp", ip / syn), ("v4-udp", ip / datagram), ("v6-tcp", ip6 / syn), ("v6-udp", ip6 / datagram)):
        length = len(raw(Ether(**IN) / packet))
        header = 34 if name.startswith("v4") else 54
        for cut in range(0, length):
            refused(f"cut-{name}-{cut}", "drop_truncated" if cut < header else "drop_ip_total_length", packet, cut=cut)
    refused("version-5", "drop_ip_version", ip / syn, patch={14: 0x55})
    refused("ihl-4", "drop_ip_header_length", ip / syn, patch={14: 0x44})
    refused("ihl-beyond", "drop_ip_header_length", IP(src=C, dst=S, ihl=15) / datagram)
    refused("total-19", "drop_ip_header_length", IP(src=C, dst=S, len=19) / syn)
    refused("total-beyond", "drop_ip_total_length", IP(src=C, dst=S, len=41) / syn)
    refused("header-checksum", "drop_ip_checksum", IP(src=C, dst=S, chksum=0x1234) / syn)
    for ttl in (0, 1):
        expired_row(f"ttl-{ttl}", "forward", IP(src=C, dst=S, ttl=ttl) / syn, S)
        expired_row(f"hop-limit-{ttl}", "forward", IPv6(src=C6, dst=S6, hlim=ttl) / syn, S6)
    for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"):
        refused(f"source-{source}", "drop_martian", IP(src=source, dst=S) / syn)
    for destination in ("0.0.0.1", "127.0.0.1", "240.0.0.1"):
        refused(f"destination-{destination}", "drop_martian", IP(src=C, dst=destination) / syn)
    for destination in ("224.0.0.1", "255.255.255.255"):
        refused(f"destination-{destination}", "punt_multicast", IP(src=C, dst=destination) / datagram)
    for source in ("::", "::1", "ff02::1", "::ffff:1.2.3.4"):
        refused(f"source-{source}", "drop_martian", IPv6(src=source, dst=S6) / syn)
    refused("destination-ff02::1", "punt_multicast", IPv6(src=C6, dst="ff02::1") / datagram)
    refused("land-v4", "drop_land", IP(src=S, dst=S) / syn)
    refused("land-v6", "drop_land", IPv6(src=S6, dst=S6) / syn)
    # RFC 7126: source routes; malformed options.
    refused("lsrr", "drop_source_route", IP(src=C, dst=S, options=b"\x83\x07\x04\x01\x02\x03\x04\x00") / syn)
    refused("ssrr", "drop_source_route", IP(src=C, dst=S, options=b"\x89\x07\x04\x01\x02\x03\x04\x00") / syn)
    for options in (b"\x07\x00\x00\x00", b"\x07\x01\x00\x00", b"\x07\x05\x00\x00", b"\x01\x01\x01\x07"):
        refused(f"options-{options.hex()}", "drop_ip_options", IP(src=C, dst=S, options=options) / datagram)
    for offset in (0, 4, 6, 15):
        refused(f"tcp-offset-{offset}", "drop_tcp_header", ip / TCP(sport=1, dport=80, flags="A", dataofs=offset))
    for flags in (0, 0x01, 0x03, 0x06, 0x07, 0x08, 0x20, 0x29, 0x3f, 0x13):
        refused(f"tcp-flags-{flags:02x}", "drop_tcp_flags", ip / TCP(sport=1, dport=80, flags=flags))
    refused("tcp-source-port-0", "drop_tcp_header", ip / TCP(sport=0, dport=80))
    refused("tcp-destination-port-0", "drop_tcp_header", ip / TCP(sport=1, dport=0))
    refused("udp-source-port-0", "drop_udp_header", ip / UDP(sport=0, dport=80))
    refused("udp-destination-port-0", "drop_udp_header", ip / UDP(sport=1, dport=0))
    for length in (0, 7, 9, 65535):
        refused(f"udp-length-{length}", "drop_udp_header", ip / UDP(sport=1, dport=80, len=length))
    refused("udp6-no-checksum", "drop_udp6_checksum", ip6 / UDP(sport=1, dport=80, chksum=0))
    # RFC 5095, RFC 8200: extension chains.
    refused("routing-0", "drop_source_route", ip6 / IPv6ExtHdrRouting(addresses=[S6]) / syn)
    chain = ip6
    for _ in range(9):
        chain = chain / IPv6ExtHdrDestOpt()
    refused("nine-extensions", "drop_extension_chain", chain / syn)
    refused("hop-by-hop-second", "drop_extension_chain", ip6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / syn)
    refused("extension-lies", "drop_extension_chain", ip6 / IPv6ExtHdrDestOpt(len=200) / syn)
    refused("extensions-too-long", "drop_extension_chain", ip6 / IPv6ExtHdrDestOpt(options=PadN(optdata=b"\0" * 252)) / IPv6ExtHdrDestOpt() / syn)
    for number in (50, 51, 59, 132):
        refused(f"next-header-{number}", "punt_protocol", IPv6(src=C6, dst=S6, nh=number) / Raw(b"\0" * 16))
    for number in (47, 50, 132):
        refused(f"protocol-{number}", "punt_protocol", IP(src=C, dst=S, proto=number) / Raw(b"\0" * 16))
    # Of services' datagrams the stories tell.
    refused("fragment-first", "punt_fragment", IP(src=C, dst="203.0.113.99", flags="MF") / datagram)
    refused("fragment-later", "punt_fragment", IP(src=C, dst="203.0.113.99", frag=10, proto=17) / Raw(b"x" * 16))
    refused("fragment-icmp", "punt_fragment", IP(src=C, dst=S, frag=10, proto=1) / Raw(b"x" * 16))
    refused("fragment-v6", "punt_fragment", IPv6(src=C6, dst="2001:db8:100::99") / IPv6ExtHdrFragment(m=1) / datagram)
    refused("icmp", "punt_icmp", ip / ICMP())
    refused("icmpv6", "punt_icmp", ip6 / ICMPv6EchoRequest())
    refused("qinq", "punt_vlan", Dot1Q(vlan=5) / Dot1Q(vlan=6) / ip / syn)
    row("qinq-88a8", "forward", "punt_vlan", Ether(**IN, type=0x88a8) / Raw(b"\0\5\x08\0" + raw(ip / syn)))
    for name, address in (("unicast", "02:00:00:00:00:03"), ("next-hop", OUT["dst"])):
        row(f"other-host-{name}", "forward", "drop_other_host", Ether(src=IN["src"], dst=address) / ip / syn)
        row(f"other-host-v6-{name}", "forward", "drop_other_host", Ether(src=IN["src"], dst=address) / ip6 / datagram)
    for ttl in (0, 1):
        expired_row(f"reply-ttl-{ttl}", "reply", IP(src=B, dst=C, ttl=ttl) / TCP(sport=8080, dport=40000, flags="A"), S)
        expired_row(f"reply-hop-limit-{ttl}", "reply", IPv6(src=B6, dst=C6, hlim=ttl) / UDP(sport=8080, dport=40000), S6)
    row("arp", "forward", "punt_ethertype", Ether(**IN, type=0x0806) / Raw(b"\0" * 28))
    row("lldp", "forward", "punt_ethertype", Ether(**IN, type=0x88cc) / Raw(b"\0" * 28))


if __name__ == "__main__":
    good_rows()
    corrupt_rows()
    refused_rows()
