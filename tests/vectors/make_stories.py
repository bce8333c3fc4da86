#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Prints stories.txt: sequences of packets on one flow state, built by scapy like packets.txt.

    STORY client VERDICT FRAME-IN FRAME-OUT     a frame comes in where the clients are
    STORY backend VERDICT FRAME-IN FRAME-OUT    or where the backends are
    STORY tables VARIANT - -                    the tables become another variant
    STORY events NAME=N,... - -                 what the engine counted in the story so far
    STORY openings NAME=N,... - -               and what it counted of all backends: SYNs and what came of them

Lines of one story follow each other; it starts without flows, with the tables "base". FRAME-OUT is -
where nothing is sent; a punted frame goes to the kernel as it came. The tables are those of
tests/conformance/tables.c, written here a second time, hash and Maglev included: nothing of ours is
asked for what is expected.
"""
import ipaddress
import itertools
import sys

sys.dont_write_bytecode = True

from make_vectors import B, B6, C, C6, IN, OUT, S, S6, expired  # noqa: E402
from scapy.all import (ICMP, IP, TCP, UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig,  # noqa: E402
                       ICMPv6ParamProblem, ICMPv6TimeExceeded, IPOption_NOP, IPv6, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, PadN, Raw, raw)

KEY = (0x0123456789abcdef, 0xfedcba9876543210)
N_SLOTS = 401
MASK = (1 << 64) - 1

# By family: client, service and its backend; the same for the other services of tables.c.
MAIN = {4: (C, S, B), 6: (C6, S6, B6)}
REPLACEMENT = {4: "10.0.0.3", 6: "2001:db8:2::3"}
SPREAD = {4: ("203.0.113.20", [f"10.0.0.{i}" for i in range(11, 15)]),
          6: ("2001:db8:100::20", [f"2001:db8:2::{i}" for i in range(11, 15)])}
WEIGHTS = (1, 1, 2, 1)
EMPTY = {4: "203.0.113.30", 6: "2001:db8:100::30"}
UNROUTED = {4: "203.0.113.40", 6: "2001:db8:100::40"}
EVERY = {4: ("203.0.113.60", "10.0.0.60"), 6: ("2001:db8:100::60", "2001:db8:2::60")}
OWN = {4: "10.0.0.1", 6: "2001:db8:2::1"}
NOBODY = {4: "203.0.113.99", 6: "2001:db8:100::99"}
STRANGER = {4: "192.0.2.201", 6: "2001:db8:dead::1"}  # no route leads there
FULL = {4: ("203.0.113.70", "10.0.0.70", "10.0.0.9"), 6: ("2001:db8:100::70", "2001:db8:2::70", "2001:db8:2::9")}
PAIR = {4: ("203.0.113.80", "10.0.0.9"), 6: ("2001:db8:100::80", "2001:db8:2::9")}
DIRECT = {4: ("203.0.113.90", "10.0.0.90"), 6: ("2001:db8:100::90", "2001:db8:2::90")}
TOLD_OF = {4: ("203.0.113.100", "10.0.0.100"), 6: ("2001:db8:100::100", "2001:db8:2::100")}
FULL_TOLD_OF = {4: ("203.0.113.110", "10.0.0.110", "10.0.0.9"), 6: ("2001:db8:100::110", "2001:db8:2::110", "2001:db8:2::9")}
# Services of other schedulers, and one whose backends may have two flows each; weights in MEMBERS' order.
TURN = {4: ("203.0.113.120", [f"10.0.0.{i}" for i in range(21, 24)]),
        6: ("2001:db8:100::120", [f"2001:db8:2::{i}" for i in range(21, 24)])}
LEAST = {4: ("203.0.113.130", [f"10.0.0.{i}" for i in range(31, 35)]),
         6: ("2001:db8:100::130", [f"2001:db8:2::{i}" for i in range(31, 35)])}
ORIGIN = {4: ("203.0.113.140", [f"10.0.0.{i}" for i in range(41, 44)]),
          6: ("2001:db8:100::140", [f"2001:db8:2::{i}" for i in range(41, 44)])}
LIMIT = {4: ("203.0.113.150", [f"10.0.0.{i}" for i in range(51, 53)]),
         6: ("2001:db8:100::150", [f"2001:db8:2::{i}" for i in range(51, 53)])}
# Round robin, and clients with one prefix keep their backend.
STICK = {4: ("203.0.113.160", [f"10.0.0.{i}" for i in range(81, 84)]),
         6: ("2001:db8:100::160", [f"2001:db8:2::{i}" for i in range(81, 84)])}
# The second backend is for clients of one prefix alone: inside it, and beside it.
CANARY = {4: ("203.0.113.170", ["10.0.0.91", "10.0.0.92"]), 6: ("2001:db8:100::170", ["2001:db8:2::91", "2001:db8:2::92"])}
CANARY_CLIENTS = {4: ["192.0.2.16", "192.0.2.21", "192.0.2.31"], 6: ["2001:db8:3::c:0", "2001:db8:3::c:7", "2001:db8:3::c:ffff"]}
OTHER_CLIENTS = {4: ["192.0.2.15", "192.0.2.32", C], 6: ["2001:db8:3::b:ffff", "2001:db8:3::d:0", C6]}
TURN_WEIGHTS, LEAST_WEIGHTS, MAX_FLOWS = (1, 3, 1), (1, 2, 1, 0), 2
SOURCE_PORT = 4000  # the only one
TOLD = ("drop_backend_gone", "drop_no_flow", "drop_no_source_port", "drop_flows_full", "drop_denied",
        "drop_backends_full")
# Mode snat, by network and family: a client of it, and its source.
NETWORKS = {"office": {4: ("10.0.0.200", "198.51.100.9"), 6: ("2001:db8:2::c:8", "2001:db8:1::9")},
            "annex": {4: ("192.0.2.100", "198.51.100.10"), 6: ("2001:db8:3::a:4", "2001:db8:1::a")}}
DENIED = {4: ("192.0.2.82", "192.0.2.83"), 6: ("2001:db8:3::82", "2001:db8:3::83")}  # to whom, by two prefixes
DENIED_CLIENT = {4: "10.0.0.210", 6: "2001:db8:2::c:12"}
FAR = {4: "192.0.2.5", 6: "2001:db8:3::5"}  # a client behind a gateway
ROUTER = {4: "192.0.2.66", 6: "2001:db8:3::66"}  # that says what became of a packet
IDS = itertools.count(1000)  # of datagrams: none comes twice within their second
SHORT = 8  # bytes of layer 4 that an error quotes at least


def siphash13(words):
    """Aumasson and Bernstein, 2012, with one and three rounds."""
    v = [KEY[0] ^ 0x736f6d6570736575, KEY[1] ^ 0x646f72616e646f6d, KEY[0] ^ 0x6c7967656e657261, KEY[1] ^ 0x7465646279746573]

    def left(x, bits):
        return (x << bits | x >> (64 - bits)) & MASK

    def sipround():
        v[0] = (v[0] + v[1]) & MASK
        v[1] = left(v[1], 13) ^ v[0]
        v[0] = left(v[0], 32)
        v[2] = (v[2] + v[3]) & MASK
        v[3] = left(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & MASK
        v[3] = left(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & MASK
        v[1] = left(v[1], 17) ^ v[2]
        v[2] = left(v[2], 32)

    for word in list(words) + [(len(words) * 8 << 56) & MASK]:
        v[3] ^= word
        sipround()
        v[0] ^= word
    v[2] ^= 0xff
    for _ in range(3):
        sipround()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def little(number):
    """A 16-bit number in network order, read as the little-endian host reads it."""
    return int.from_bytes(number.to_bytes(2, "big"), "little")


def words(address):
    """An address as two 64-bit words; IPv4 stands in the first 4 of 16 bytes."""
    packed = ipaddress.ip_address(address).packed.ljust(16, b"\0")
    return [int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")]


def maglev(backends, family, protocol, weights=WEIGHTS):
    """Slots of a service: Eisenbud et al., 2016, weights by carried-over turns."""
    walkers = []
    for position, backend in enumerate(backends):
        name = words(backend) + [protocol << 32 | family << 16 | little(8080)]
        walkers.append({"rank": siphash13(name + [2]), "position": position, "credit": 0,
                        "order": [(siphash13(name + [0]) % N_SLOTS + i * (siphash13(name + [1]) % (N_SLOTS - 1) + 1)) % N_SLOTS
                                  for i in range(N_SLOTS)]})
    slots = {}
    while len(slots) < N_SLOTS:
        for walker in sorted(walkers, key=lambda w: w["rank"]):
            walker["credit"] += weights[walker["position"]]
            if walker["credit"] < max(weights) or len(slots) == N_SLOTS:
                continue
            walker["credit"] -= max(weights)
            slots[next(s for s in walker["order"] if s not in slots)] = backends[walker["position"]]
    return slots


def turns(backends, weights):
    """Slots of a service of scheduler round_robin: who has a turn, round after round."""
    credit = [max(weights) * i // len(weights) for i in range(len(weights))]
    slots = []
    while len(slots) < N_SLOTS:
        for i, weight in enumerate(weights):
            credit[i] += weight
            if weight and credit[i] >= max(weights):
                credit[i] -= max(weights)
                slots.append(backends[i])
    return slots[:N_SLOTS]


def hashed(family, protocol, client, sport, service, dport):
    """The hash of a client's tuple."""
    ports = protocol << 32 | little(dport) << 16 | little(sport)
    if family == 4:
        message = [words(service)[0] << 32 | words(client)[0], ports]
    else:
        message = words(client) + words(service) + [ports]
    return siphash13(message)


def chosen(slots, family, protocol, client, sport, service, dport):
    """The backend of a client's tuple."""
    return slots[(hashed(family, protocol, client, sport, service, dport) >> 32) * N_SLOTS >> 32]


def least(backends, weights, flows, number, limit=None):
    """The backend with the fewest flows for its weight, of those with one, from where @number says on; None: none may have more."""
    candidates = [(backend, weight) for backend, weight in zip(backends, weights) if weight]
    start = (number >> 32) * len(candidates) >> 32
    best = None
    for backend, weight in candidates[start:] + candidates[:start]:
        if limit and flows[backend] >= limit:
            continue
        if best is None or (flows[best[0]] + 1) * weight > (flows[backend] + 1) * best[1]:
            best = (backend, weight)
    return best and best[0]


class Fragment:
    """Of a datagram; the fields may be given otherwise when its frame is built."""

    def __init__(self, source, destination, number, ident, at, more, payload, is_out):
        self.ends, self.number, self.ident, self.is_out = (source, destination), number, ident, is_out
        self.at, self.more, self.payload = at, more, payload

    def frame(self, ttl, at=None, more=None, payload=None):
        at, more = self.at if at is None else at, self.more if more is None else more
        payload = self.payload if payload is None else payload
        source, destination = self.ends
        if ":" in source:
            ip = IPv6(src=source, dst=destination, hlim=ttl) / \
                IPv6ExtHdrFragment(nh=self.number, id=self.ident, offset=at // 8, m=int(more))
        else:
            ip = IP(src=source, dst=destination, ttl=ttl, id=self.ident, frag=at // 8, flags="MF" if more else 0,
                    proto=self.number)
        return raw(Ether(**(OUT if self.is_out else IN)) / ip / Raw(payload)).hex()


class Story:
    """Prints a story's lines; a frame's two sides are given by their addresses and ports."""

    def __init__(self, name, family, l4):
        self.name, self.family, self.l4 = f"v{family}-{l4.__name__.lower()}-{name}", family, l4
        self.client, self.service, self.backend = MAIN[family]
        self.sport, self.dport, self.bport = 40000, 80, 8080
        self.source = None  # mode fullnat: what stands in for the client
        self.is_egress = False
        self.ip_flags = 0

    def frame(self, ends, is_out, payload, ttl, fields):
        source, sport, destination, dport = ends
        ip = IP(src=source, dst=destination, ttl=ttl, flags=self.ip_flags) if self.family == 4 else \
            IPv6(src=source, dst=destination, hlim=ttl)
        return raw(Ether(**(OUT if is_out else IN)) / ip / self.l4(sport=sport, dport=dport, **fields) / Raw(payload)).hex()

    def header(self):
        """What PROXY v2 tells the backend of the client (haproxy.org, proxy-protocol.txt, 2.2)."""
        family, length = ((1, 12) if self.family == 4 else (2, 36))
        ends = ipaddress.ip_address(self.client).packed + ipaddress.ip_address(self.service).packed
        return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, family << 4 | (1 if self.l4 is TCP else 2)]) +
                length.to_bytes(2, "big") + ends + self.sport.to_bytes(2, "big") + self.dport.to_bytes(2, "big"))

    def line(self, port, verdict, ends, ends_out, payload, ttl, fields, changed=None):
        """@changed: what of the fields and the payload goes out otherwise."""
        changed = dict(changed or {})
        payload_out = changed.pop("payload", payload)
        if self.l4 is UDP:
            fields, changed = {}, {}
        elif payload_out and not payload:
            changed["flags"] = fields["flags"] + "P"  # a header alone is pushed
        into = self.frame(ends, False, payload, ttl, fields)
        out = "-"
        if verdict in ("forward", "reply"):
            out = self.frame(ends_out, True, payload_out, ttl - 1, {**fields, **changed})
        elif verdict in TOLD and (port == "client" or self.is_egress) and (verdict != "drop_denied" or port == self.side):
            out = self.answer(into, ends, payload, fields, verdict == "drop_denied")
        elif verdict == "drop_ttl":
            told_by = ends_out[0] if port == "backend" and not self.source else ends[2]
            told_by = self.source if self.is_egress else told_by
            out = raw(expired(Ether(bytes.fromhex(into)), told_by)).hex()
        elif verdict == "drop_too_big" and (self.family == 6 or self.ip_flags == "DF"):
            out = self.size(into, ends, 1500 - len(self.header()))
        print(self.name, port, verdict, into, out)

    def answer(self, into, ends, payload, fields, is_prohibited=False):
        """What the client of a refused packet is told."""
        source, sport, destination, dport = ends
        ether = Ether(src=IN["dst"], dst=IN["src"])
        if self.l4 is TCP:
            flags = str(fields.get("flags", "S"))
            if "R" in flags:
                return "-"
            length = len(payload) + flags.count("S") + flags.count("F")
            number = {"flags": "RA", "seq": 0, "ack": fields.get("seq", 0) + length}
            if "A" in flags:
                number = {"flags": "R", "seq": fields.get("ack", 0), "ack": 0}
            l4 = TCP(sport=dport, dport=sport, window=0, **number)
        ip = IP(src=destination, dst=source, ttl=64, id=0, flags="DF") if self.family == 4 else \
            IPv6(src=destination, dst=source, hlim=64)
        if self.l4 is TCP:
            return raw(ether / ip / l4).hex()
        if self.family == 4:
            return raw(ether / ip / ICMP(type=3, code=13 if is_prohibited else 3) / Raw(bytes.fromhex(into)[14:14 + 28])).hex()
        return raw(ether / ip / ICMPv6DestUnreach(code=1 if is_prohibited else 4) / Raw(bytes.fromhex(into)[14:14 + 48])).hex()

    @staticmethod
    def size(into, ends, mtu):
        """The client of a packet that is too large with its header is told how large it may be."""
        source, _, destination, _ = ends
        ether = Ether(src=IN["dst"], dst=IN["src"])
        if ":" in source:
            ip = IPv6(src=destination, dst=source, hlim=64)
            return raw(ether / ip / ICMPv6PacketTooBig(mtu=mtu) / Raw(bytes.fromhex(into)[14:14 + 48])).hex()
        ip = IP(src=destination, dst=source, ttl=64, id=0, flags="DF")
        return raw(ether / ip / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(bytes.fromhex(into)[14:14 + 28])).hex()

    def forward(self, verdict="forward", payload=b"", ttl=64, out=None, **fields):
        source = (self.source, SOURCE_PORT) if self.source else (self.client, self.sport)
        self.line("client", verdict, (self.client, self.sport, self.service, self.dport),
                  (*source, self.backend, self.bport), payload, ttl, fields, out)

    def reply(self, verdict="reply", payload=b"", ttl=64, out=None, **fields):
        source = (self.source, SOURCE_PORT) if self.source else (self.client, self.sport)
        self.line("backend", verdict, (self.backend, self.bport, *source),
                  (self.service, self.dport, self.client, self.sport), payload, ttl, fields, out)

    def quoted(self, ends, options, n_quoted, seq):
        """What an error quotes: a packet of @ends, of whose layer 4 @n_quoted bytes are left."""
        source, sport, destination, dport = ends
        fields = {"seq": seq, "flags": "A"} if self.l4 is TCP else {}
        l4 = raw(self.l4(sport=sport, dport=dport, **fields))
        if self.family == 4:
            ip = IP(src=source, dst=destination, ttl=1, flags="DF", options=options)
        else:
            ip = IPv6(src=source, dst=destination, hlim=1)
            ip = ip / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"x" * 12)]) if options else ip
        whole = raw(ip / self.l4(sport=sport, dport=dport, **fields) / Raw(b"payload" * 30))
        return whole[:len(whole) - len(l4) - 210 + n_quoted]

    def error(self, port, verdict, kind="too big", source=None, options=(), n_quoted=SHORT, ttl=64, spoil=None,
              mtu=1400, fullnat=False, seq=4242, seq_out=None, mtu_out=None):
        """An ICMP error that comes in at @port, about a packet that went out there."""
        pool = (self.source, SOURCE_PORT) if self.source else (self.client, self.sport)
        if port == "client":
            sent, had = (self.service, self.dport, self.client, self.sport), (self.backend, self.bport, *pool)
            source_out = pool[0] if fullnat else source or ROUTER[self.family]
            ends, ends_out = (source or ROUTER[self.family], self.service), (source_out, self.backend)
        else:
            sent, had = (*pool, self.backend, self.bport), (self.client, self.sport, self.service, self.dport)
            ends, ends_out = (source or self.backend, pool[0]), (self.service, self.client)

        def frame(ends, is_out, quotation, ttl, mtu):
            if self.family == 4:
                ip = IP(src=ends[0], dst=ends[1], ttl=ttl)
                icmp = {"too big": ICMP(type=3, code=4, nexthopmtu=mtu), "unreachable": ICMP(type=3, code=1),
                        "time": ICMP(type=11), "problem": ICMP(type=12), "quench": ICMP(type=4),
                        "redirect": ICMP(type=5)}[kind]
            else:
                ip = IPv6(src=ends[0], dst=ends[1], hlim=ttl)
                icmp = {"too big": ICMPv6PacketTooBig(mtu=mtu), "unreachable": ICMPv6DestUnreach(code=0),
                        "time": ICMPv6TimeExceeded(), "problem": ICMPv6ParamProblem()}[kind]
            return raw(Ether(**(OUT if is_out else IN)) / ip / icmp / Raw(quotation))

        into = frame(ends, False, self.quoted(sent, options, n_quoted, seq), ttl, mtu)
        if spoil is not None:  # a byte of the quoted IP header's, and ICMP's own checksum true or not
            into = spoil(into)
        out = frame(ends_out, True, self.quoted(had, options, n_quoted, seq_out or seq), ttl - 1,
                    mtu_out or mtu).hex()
        print(self.name, port, verdict, into.hex(), out if verdict in ("forward", "reply") else "-")

    def ends(self, port):
        """Addresses and ports of a packet that comes in at @port, and as it goes out."""
        pool = (self.source, SOURCE_PORT) if self.source else (self.client, self.sport)
        if port == "client":
            return (self.client, self.sport, self.service, self.dport), (*pool, self.backend, self.bport)
        return (self.backend, self.bport, *pool), (self.service, self.dport, self.client, self.sport)

    def pieces(self, port, cuts, n=200, ident=None, **fields):
        """The fragments of a datagram with @n bytes of payload, each as it comes in and as it goes out."""
        ident = next(IDS) if ident is None else ident
        number = 17 if self.l4 is UDP else 6
        pieces = []
        for ends, is_out in zip(self.ends(port), (False, True)):
            source, sport, destination, dport = ends
            ip = IP(src=source, dst=destination) if self.family == 4 else IPv6(src=source, dst=destination)
            payload = bytes(i & 255 for i in range(n))
            whole = raw(ip / self.l4(sport=sport, dport=dport, **fields) / Raw(payload))[len(raw(ip)):]
            bounds = list(zip([0, *cuts], [*cuts, len(whole)]))
            pieces.append([Fragment(source, destination, number, ident, at, end < len(whole), whole[at:end], is_out)
                           for at, end in bounds])
        return list(zip(*pieces))

    def piece(self, port, verdict, piece, ttl=64, **changed):
        into, out = (fragment.frame(ttl - is_out, **changed) for is_out, fragment in enumerate(piece))
        print(self.name, port, verdict, into, out if verdict in ("forward", "reply") else "-")

    def tables(self, variant):
        print(self.name, "tables", variant, "- -")

    def events(self, **counts):
        print(self.name, "events", ",".join(f"{k}={v}" for k, v in counts.items()) or "none=0", "- -")

    def openings(self, **counts):
        print(self.name, "openings", ",".join(f"{k}={v}" for k, v in counts.items()) or "none=0", "- -")

    def handshake(self):
        self.forward(flags="S", seq=100)
        self.reply(flags="SA", seq=500, ack=101)
        self.forward(flags="A", seq=101, ack=501)


def tcp_stories(family):
    story = Story("handshake-data-fin-reopen", family, TCP)
    story.handshake()
    story.events(flow_created=1, flow_promoted=1)
    story.forward(flags="PA", seq=101, ack=501, payload=b"request")
    story.reply(flags="A", seq=501, ack=108)
    story.reply(flags="PA", seq=501, ack=108, payload=b"the answer" * 100)
    story.forward(flags="A", seq=108, ack=1501)
    story.forward(flags="FA", seq=108, ack=1501)
    story.reply(flags="FA", seq=1501, ack=109)
    story.forward(flags="A", seq=109, ack=1502)
    story.events(flow_created=1, flow_promoted=1)
    story.forward(flags="S", seq=9000)
    story.events(flow_created=2, flow_ended=1, flow_promoted=1)
    story.reply(flags="SA", seq=70000, ack=9001)
    story.forward(flags="A", seq=9001, ack=70001)
    story.events(flow_created=2, flow_ended=1, flow_promoted=2)

    story = Story("half-closed-reopen", family, TCP)
    story.handshake()
    story.reply(flags="FA", seq=501, ack=101)
    story.forward(flags="PA", seq=101, ack=502, payload=b"last words")
    story.forward(flags="S", seq=77)
    story.events(flow_created=2, flow_ended=1, flow_promoted=1)

    story = Story("repeated-syn", family, TCP)
    story.forward(flags="S", seq=100)
    story.forward(flags="S", seq=100)
    story.reply(flags="SA", seq=500, ack=101)
    story.reply(flags="SA", seq=600, ack=101)
    story.forward(flags="A", seq=101, ack=601)
    story.events(flow_created=1, flow_promoted=1)

    story = Story("forged-ack", family, TCP)
    story.forward(flags="S", seq=100)
    story.reply(flags="SA", seq=500, ack=101)
    story.forward(flags="A", seq=101, ack=12345)
    story.events(flow_created=1)

    story = Story("syn-on-established", family, TCP)
    story.handshake()
    story.forward(flags="S", seq=12345)
    story.events(flow_created=1, flow_promoted=1)

    story = Story("reset", family, TCP)
    story.handshake()
    story.forward(flags="R", seq=99)  # blind: not at the client's number
    story.forward(flags="S", seq=100)
    story.events(flow_created=1, flow_promoted=1)
    story.forward(flags="R", seq=101)
    story.forward(flags="S", seq=5000)
    story.events(flow_created=2, flow_ended=1, flow_promoted=1)

    story = Story("reset-by-backend", family, TCP)
    story.handshake()
    story.reply(flags="RA", seq=501, ack=101)
    story.forward(flags="A", seq=101, ack=501)
    story.forward(flags="S", seq=5000)
    story.events(flow_created=2, flow_ended=1, flow_promoted=1)

    story = Story("challenged-reset", family, TCP)
    story.handshake()
    story.forward(flags="R", seq=101)
    story.reply(flags="A", seq=501, ack=101)  # the backend goes on
    story.forward(flags="S", seq=5000)
    story.events(flow_created=1, flow_promoted=1)

    story = Story("reset-without-flow", family, TCP)
    story.forward(flags="R", seq=1)
    story.forward(flags="RA", seq=1, ack=1)
    story.events(stateless_forward=2)

    story = Story("data-without-flow", family, TCP)
    story.forward(flags="PA", seq=7, ack=9, payload=b"late")
    story.reply(flags="A", seq=9, ack=11)
    story.events(flow_created=1, flow_promoted=1)

    story = Story("learned-from-reply", family, TCP)
    story.reply(flags="PA", seq=9, ack=11, payload=b"still here")
    story.events(flow_created=1, flow_from_reply=1)
    story.reply(flags="A", seq=19, ack=11)
    story.forward(flags="A", seq=11, ack=19)
    story.events(flow_created=1, flow_from_reply=1, flow_promoted=1)

    story = Story("stateless-reply", family, TCP)
    story.reply(flags="SA", seq=500, ack=101)
    story.reply(flags="R", seq=500)
    story.events(stateless_reply=2)
    story.forward(flags="S", seq=100)
    story.events(flow_created=1, stateless_reply=2)


def opening_stories(make, is_told=False):
    """What becomes of SYNs. @make: a story by its name; @is_told: its backend is told of the client."""
    story = make("opening-answered")
    story.forward(flags="S", seq=100)
    story.openings(syns=1)
    story.forward(flags="S", seq=100)
    story.reply(flags="SA", seq=500, ack=101)
    story.openings(syns=1, syn_acks=1)
    story.reply(flags="SA", seq=500, ack=101)  # once more: it was lost on its way
    story.openings(syns=1, syn_acks=1)
    if not is_told:
        story.forward(flags="A", seq=101, ack=501)
        story.reply(flags="RA", seq=77, ack=101)  # blind
        story.openings(syns=1, syn_acks=1)
        story.reply(flags="RA", seq=501, ack=101)
        story.openings(syns=1, syn_acks=1, resets=1)
        story.forward(flags="S", seq=9000)
        story.openings(syns=2, syn_acks=1, resets=1)

    story = make("opening-refused")
    story.forward(flags="S", seq=100)
    story.reply(flags="RA", seq=0, ack=7)  # of no SYN of ours
    story.reply(flags="R", seq=101)
    story.openings(syns=1)
    story.reply(flags="RA", seq=0, ack=101)
    story.openings(syns=1, refused=1)
    story.forward(flags="S", seq=100)
    story.reply(flags="RA", seq=0, ack=101)
    story.openings(syns=1, refused=1)
    # It listens again: its flow was counted.
    story.reply(flags="SA", seq=500, ack=101)
    story.openings(syns=1, refused=1)

    # A backend that still has the connection before says where it is, and the client ends that.
    story = make("opening-challenged")
    story.forward(flags="S", seq=100)
    story.reply(flags="A", seq=7000, ack=44)
    if not is_told:
        story.forward(flags="R", seq=44)
    story.openings(syns=1)
    story.reply(flags="SA", seq=500, ack=101)
    story.openings(syns=1, syn_acks=1)

    # What never gets to a backend says nothing of it.
    story = make("opening-ends-here")
    story.forward("drop_ttl", ttl=1, flags="S", seq=100)
    story.openings()
    story.forward(flags="S", seq=100)
    story.reply(flags="SA", seq=500, ack=101)
    story.openings()


def unopened_stories(family):
    """Flows that no SYN of a client began, and one that ends before its answer."""
    story = Story("opening-midstream", family, TCP)
    story.forward(flags="A", seq=5, ack=9)
    story.reply(flags="A", seq=9, ack=5)
    story.reply(flags="R", seq=9)
    story.openings()

    story = Story("opening-unanswered", family, TCP)
    story.forward(flags="S", seq=100)
    story.tables("maint")
    story.forward("drop_no_backend", flags="S", seq=100)
    story.openings(syns=1, unanswered=1)

    story = Story("opening-udp", family, UDP)
    story.forward()
    story.reply()
    story.openings()


def common_stories(family, l4):
    syn = {"flags": "S", "seq": 100}
    ack = {"flags": "A", "seq": 101, "ack": 501}
    back = {"flags": "SA", "seq": 500, "ack": 101}

    story = Story("no-service", family, l4)
    story.service = NOBODY[family]
    story.forward("punt_not_service", **syn)
    story.service, story.dport = MAIN[family][1], 81  # the address, but not the port
    story.forward("punt_not_service", **syn)
    story.backend, story.bport = MAIN[family][2], 8081
    story.reply("punt_not_service", **ack)
    story.backend, story.bport = REPLACEMENT[family], 8080
    story.reply("punt_not_service", **ack)
    story.events()

    story = Story("source-is-service", family, l4)
    story.client = SPREAD[family][0]
    story.forward("drop_source_is_service", **syn)
    story.events()

    story = Story("no-backend", family, l4)
    story.service = EMPTY[family]
    story.forward("drop_no_backend", **syn)
    story.events()

    story = Story("no-route", family, l4)
    story.service = UNROUTED[family]
    story.forward("drop_no_route", **syn)
    story.forward("drop_no_route", ttl=1, **syn)
    story.events(flow_created=1)

    story = Story("ttl", family, l4)
    story.forward("drop_ttl", ttl=1, **syn)
    story.forward(ttl=2, **syn)
    story.reply("drop_ttl", ttl=1, **back)
    story.reply(ttl=255, **back)
    story.reply("drop_ttl", ttl=0, **back)
    story.forward("drop_ttl", ttl=1, **{**ack, "flags": "RA"})
    story.events(flow_created=1, time_exceeded_sent=4, **({"flow_promoted": 1} if l4 is UDP else {}))

    story = Story("to-the-host", family, l4)
    story.client = OWN[family]
    story.reply("punt_local", **back)
    story.client = STRANGER[family]
    story.reply("punt_local", **back)
    story.events()

    story = Story("gateway", family, l4)
    story.client = FAR[family]
    story.forward(**syn)
    story.reply(**back)
    story.sport = 40001
    story.reply(**back)  # no flow
    story.events(flow_created=1, stateless_reply=1, **({"flow_promoted": 1} if l4 is UDP else {}))

    story = Story("every-port", family, l4)
    story.service, story.backend = EVERY[family]
    story.dport = story.bport = 4444
    story.forward(**syn)
    story.reply(**back)
    story.dport = story.bport = 65535
    story.forward(**syn)
    story.dport = story.bport = 22
    story.reply(**back)  # no flow
    story.events(flow_created=2, stateless_reply=1, **({"flow_promoted": 1} if l4 is UDP else {}))

    story = Story("spread", family, l4)
    story.service, backends = SPREAD[family]
    protocol = 6 if l4 is TCP else 17
    slots = maglev(backends, family, protocol)
    for sport in range(40000, 40048):
        story.sport = sport
        story.backend = chosen(slots, family, protocol, story.client, sport, story.service, story.dport)
        story.forward(**syn)
        story.reply(**back)
    story.events(flow_created=48, **({"flow_promoted": 48} if l4 is UDP else {}))

    # The flow keeps its backend; a new flow finds none.
    for variant in ("drain", "down-keep"):
        story = Story(variant, family, l4)
        story.forward(**syn)
        story.tables(variant)
        story.reply(**back)
        story.forward(**ack)
        story.sport = 40001
        story.forward("drop_no_backend", **syn)
        story.reply(**ack)  # what a draining backend says is still translated
        story.events(flow_created=1 if l4 is UDP else 2, flow_promoted=1,
                     **({"stateless_reply": 1} if l4 is UDP else {"flow_from_reply": 1}))

    for variant in ("maint", "down", "deleted"):
        story = Story(variant, family, l4)
        story.forward(**syn)
        story.reply(**back)
        story.forward(**ack)
        story.tables(variant)
        story.reply("drop_backend_gone", **ack)
        if l4 is TCP:
            story.forward("drop_backend_gone", **ack)
        story.forward("drop_no_backend", **syn)
        told = {"reset_sent": 1} if l4 is TCP else {}
        story.events(flow_created=1, flow_promoted=1, flow_ended=1, **told)
        # No flow is left; a backend that is gone is nobody's, one that is in maintenance or down is not heard.
        story.reply("punt_not_service" if variant == "deleted" else "drop_backend_gone", **ack)
        if variant != "deleted":
            story.client = OWN[family]  # the answer to a health check
            story.reply("punt_local", **ack)
            story.client = MAIN[family][0]
        story.tables("base")
        story.forward(**syn)
        story.events(flow_created=2, flow_promoted=1, flow_ended=1, **told)

    # Another backend has come in its place: what opens a connection goes there at once.
    story = Story("replaced", family, l4)
    story.forward(**syn)
    story.reply(**back)
    story.forward(**ack)
    story.tables("replaced")
    if l4 is TCP:
        story.forward("drop_backend_gone", **ack)
    story.backend = REPLACEMENT[family]
    story.forward(**syn)
    story.reply(**back)
    told = {"reset_sent": 1} if l4 is TCP else {}
    story.events(flow_created=2, flow_ended=1, flow_promoted=1 if l4 is TCP else 2, **told)
    # The former backend is back: a new object, and the flow's own one has gone.
    story.tables("base")
    if l4 is TCP:
        story.forward("drop_backend_gone", **ack)
    story.backend = MAIN[family][2]
    story.forward(**syn)
    told = {"reset_sent": 2} if l4 is TCP else {}
    story.events(flow_created=3, flow_ended=2, flow_promoted=1 if l4 is TCP else 2, **told)


def flip(at):
    """Changes the byte @at of a frame, counted from its end if negative."""
    def spoil(frame):
        frame = bytearray(frame)
        frame[at] ^= 0x55
        return bytes(frame)
    return spoil


def requoted(family, at, change):
    """Changes byte @at of the quotation, and makes ICMP's own checksum true again."""
    def spoil(frame):
        ether = Ether(frame)
        if family == 4:
            ip, icmp = ether[IP], ether[IP].payload
            quotation = bytearray(raw(icmp.payload))
            quotation[at] = change(quotation[at])
            fresh = IP(src=ip.src, dst=ip.dst, ttl=ip.ttl) / ICMP(type=icmp.type, code=icmp.code,
                                                                 nexthopmtu=icmp.nexthopmtu)
        else:
            ip = ether[IPv6]
            message = raw(ip.payload)
            quotation = bytearray(message[8:])
            quotation[at] = change(quotation[at])
            fresh = IPv6(src=ip.src, dst=ip.dst, hlim=ip.hlim) / ICMPv6PacketTooBig(
                mtu=int.from_bytes(message[4:8], "big"))
        return raw(Ether(**IN) / fresh / Raw(bytes(quotation)))
    return spoil


def error_stories(family, l4):
    """ICMP errors: RFC 792, 4443, 5508; T-12."""
    syn = {"flags": "S", "seq": 100}
    back = {"flags": "SA", "seq": 500, "ack": 101}
    udp = {"flow_promoted": 1} if l4 is UDP else {}
    kinds = ("too big", "unreachable", "time", "problem")

    # Both ways, of every kind, with little and much quoted, with options; nothing ends or is refreshed.
    story = Story("errors", family, l4)
    story.forward(**syn)
    story.reply(**back)
    for kind in kinds:
        story.error("client", "forward", kind)
        story.error("backend", "reply", kind)
        story.error("backend", "reply", kind, source=REPLACEMENT[family])
    for n_quoted in (9, 16, 18, 20, 32, 33, 100):  # with 17 half of TCP's checksum would be there, and stay
        story.error("client", "forward", n_quoted=n_quoted)
        story.error("backend", "reply", n_quoted=n_quoted)
    options = [IPOption_NOP()] * 4
    story.error("client", "forward", options=options)
    story.error("backend", "reply", options=options, n_quoted=40)
    story.error("client", "drop_ttl", ttl=1)
    story.error("backend", "drop_ttl", ttl=1)
    story.events(flow_created=1, icmp_error=28, **udp)
    for mtu in (0, 67 if family == 4 else 1279):
        story.error("client", "forward", mtu=mtu)
        story.error("backend", "reply", mtu=mtu)
    story.error("backend", "reply", mtu=68 if family == 4 else 1280)
    story.events(flow_created=1, icmp_error=33, icmp_small_mtu=4, **udp)

    # What is wrong is dropped: checksums, lengths, versions; and what is not about our packets is the kernel's.
    story = Story("errors-malformed", family, l4)
    story.forward(**syn)
    story.reply(**back)
    header = 20 if family == 4 else 40
    for port in ("client", "backend"):
        story.error(port, "drop_icmp_malformed", spoil=flip(-1))
        story.error(port, "drop_icmp_malformed", spoil=flip(14 + header + 2))
        story.error(port, "drop_icmp_malformed", n_quoted=7)
        story.error(port, "drop_icmp_malformed", n_quoted=0)
        story.error(port, "drop_icmp_malformed", n_quoted=-1)
        story.error(port, "drop_icmp_malformed", n_quoted=-header)
        story.error(port, "drop_icmp_malformed", spoil=requoted(family, 0, lambda byte: byte ^ 0x20))
        if family == 4:
            story.error(port, "drop_icmp_malformed", spoil=requoted(family, 0, lambda byte: 0x44))
            story.error(port, "drop_icmp_malformed", spoil=requoted(family, 0, lambda byte: 0x4f))
            story.error(port, "drop_icmp_malformed", spoil=requoted(family, 8, lambda byte: byte + 1))
            story.error(port, "punt_icmp", "quench")
            story.error(port, "punt_icmp", "redirect")
        else:
            story.error(port, "punt_icmp", spoil=requoted(family, 6, lambda byte: 58))
            story.error(port, "drop_icmp_no_flow", spoil=requoted(family, 6, lambda byte: 0))
    story.events(flow_created=1, **udp)

    # Without a flow: as packets of that tuple would go, but nothing is remembered.
    story = Story("errors-without-flow", family, l4)
    story.error("client", "forward")
    story.error("backend", "reply")
    story.dport = 81
    story.error("client", "punt_icmp")
    story.dport, story.bport = 80, 8081
    story.error("backend", "punt_icmp")
    story.bport = 8080
    story.client = OWN[family]
    story.error("backend", "punt_icmp")
    story.service = EMPTY[family]
    story.error("client", "drop_icmp_no_flow")
    story.events(icmp_error=2, stateless_forward=1, stateless_reply=1)

    # The flow's backend is in maintenance, or replaced.
    story = Story("errors-backend-gone", family, l4)
    story.forward(**syn)
    story.reply(**back)
    story.tables("maint")
    story.error("client", "drop_backend_gone")
    story.error("backend", "drop_backend_gone")
    story.events(flow_created=1, **udp)

    # Mode fullnat: what a backend receives comes from the pool, whoever sent it.
    story = full("errors-fullnat", family, l4)
    story.error("client", "drop_icmp_no_flow")
    story.error("backend", "punt_icmp")
    story.forward(**syn)
    story.reply(**back)
    for kind in kinds:
        story.error("client", "forward", kind, fullnat=True)
        story.error("backend", "reply", kind)
    story.error("client", "forward", n_quoted=40, fullnat=True)
    story.error("backend", "reply", n_quoted=40, source=REPLACEMENT[family])
    story.sport = 40001
    story.error("client", "drop_icmp_no_flow")
    story.events(flow_created=1, icmp_error=10, source_port_tries=1, **udp)


def udp_stories(family):
    story = Story("both-ways", family, UDP)
    story.forward(payload=b"question")
    story.events(flow_created=1)
    story.reply(payload=b"answer")
    story.forward(payload=b"another")
    story.reply(payload=b"")
    story.events(flow_created=1, flow_promoted=1)

    story = Story("stateless-reply-then-forward", family, UDP)
    story.reply(payload=b"from before")
    story.events(stateless_reply=1)
    story.forward(payload=b"question")
    story.reply(payload=b"answer")
    story.events(stateless_reply=1, flow_created=1, flow_promoted=1)


def full(name, family, l4):
    story = Story(name, family, l4)
    story.service, story.backend, story.source = FULL[family]
    return story


def fullnat_tcp_stories(family):
    story = full("fullnat-handshake-data-fin", family, TCP)
    story.handshake()
    story.forward(flags="PA", seq=101, ack=501, payload=b"request")
    story.reply(flags="PA", seq=501, ack=108, payload=b"the answer" * 100)
    story.forward(flags="FA", seq=108, ack=1501)
    story.reply(flags="FA", seq=1501, ack=109)
    story.forward(flags="A", seq=109, ack=1502)
    story.events(flow_created=1, flow_promoted=1, source_port_tries=1)
    # The same client's next connection: scheduled afresh, by the port that it gives back.
    story.forward(flags="S", seq=90)
    story.events(flow_created=2, flow_ended=1, flow_promoted=1, source_port_tries=2)

    story = full("fullnat-without-flow", family, TCP)
    story.forward("drop_no_flow", flags="PA", seq=7, ack=9, payload=b"late")
    story.forward("drop_no_flow", flags="FA", seq=7, ack=9)
    story.forward("drop_no_flow", flags="R", seq=7)
    story.reply("punt_not_service", flags="A", seq=9, ack=11)
    story.events(reset_sent=2)

    # The only source port is in use: refused at once. Another backend has it, too.
    story = full("fullnat-exhausted", family, TCP)
    story.handshake()
    story.sport = 40001
    story.forward("drop_no_source_port", flags="S", seq=77)
    story.events(flow_created=1, flow_promoted=1, source_port_tries=2, reset_sent=1)
    # Both sides have ended, the backend first: it would take this for the old connection.
    story.sport = 40000
    story.reply(flags="FA", seq=501, ack=101)
    story.forward(flags="FA", seq=101, ack=502)
    story.sport = 40001
    story.forward("drop_no_source_port", flags="S", seq=77)
    # And this for a new one.
    story.forward(flags="S", seq=5000)
    story.reply(flags="SA", seq=800, ack=5001)
    story.forward(flags="A", seq=5001, ack=801)
    story.events(flow_created=2, flow_ended=1, flow_promoted=2, source_port_tries=4, source_port_reused=1,
                 reset_sent=2)
    # The client first: the backend has forgotten it, and says so when an acknowledgement comes late.
    story.forward(flags="FA", seq=5001, ack=801)
    story.reply(flags="FA", seq=801, ack=5002)
    story.forward(flags="A", seq=5002, ack=802)
    story.reply(flags="R", seq=802)
    story.sport = 40002
    story.forward(flags="S", seq=9)
    story.events(flow_created=3, flow_ended=2, flow_promoted=2, source_port_tries=5, source_port_reused=2,
                 reset_sent=2)
    # The former owner's late packet opens nothing.
    story.sport = 40000
    story.forward("drop_no_flow", flags="A", seq=102, ack=502)
    story.events(flow_created=3, flow_ended=2, flow_promoted=2, source_port_tries=5, source_port_reused=2,
                 reset_sent=3)


def fullnat_stories(family, l4):
    syn = {"flags": "S", "seq": 100}
    ack = {"flags": "A", "seq": 101, "ack": 501}
    back = {"flags": "SA", "seq": 500, "ack": 101}
    told = {"reset_sent": 1} if l4 is TCP else {"unreachable_sent": 1}
    udp = {"flow_promoted": 1} if l4 is UDP else {}

    story = full("fullnat", family, l4)
    story.forward(payload=b"question" if l4 is UDP else b"", **syn)
    story.reply(payload=b"answer" if l4 is UDP else b"", **back)
    story.sport = 40001
    story.forward("drop_no_source_port", payload=b"question" if l4 is UDP else b"", **syn)
    story.events(flow_created=1, source_port_tries=2, **told, **udp)

    # The same source and port towards each of two backends.
    story = Story("fullnat-pair", family, l4)
    story.service, story.source = PAIR[family]
    backends = SPREAD[family][1][:2]
    protocol = 6 if l4 is TCP else 17
    slots = maglev(backends, family, protocol, (1, 1))
    seen = {}
    for sport in range(40000, 40016):
        story.sport = sport
        story.backend = chosen(slots, family, protocol, story.client, sport, story.service, story.dport)
        story.forward("drop_no_source_port" if story.backend in seen else "forward", **syn)
        if story.backend not in seen:
            seen[story.backend] = sport
            story.reply(**back)
    for story.backend, story.sport in seen.items():
        story.forward(**ack)
        story.reply(**ack)
    key = "reset_sent" if l4 is TCP else "unreachable_sent"
    story.events(flow_created=2, source_port_tries=16, flow_promoted=2, **{key: 14})

    # Replies that are no flow's are the kernel's, as are packets from elsewhere to the source address.
    story = full("fullnat-strange-replies", family, l4)
    story.forward(**syn)
    story.bport = 8081
    story.reply("punt_not_service", **back)
    story.bport, story.backend = 8080, REPLACEMENT[family]
    story.reply("punt_not_service", **back)
    story.client, story.source = FULL[family][2], None
    story.backend, story.sport = FULL[family][1], SOURCE_PORT + 1
    story.reply("punt_not_service", **back)
    story.events(flow_created=1, source_port_tries=1)

    story = full("fullnat-ttl", family, l4)
    story.forward("drop_ttl", ttl=1, **syn)
    story.forward(**syn)
    story.reply("drop_ttl", ttl=1, **back)
    story.events(flow_created=1, source_port_tries=1, time_exceeded_sent=2, **udp)

    story = full("fullnat-source-as-client", family, l4)
    story.client = story.source
    story.forward("drop_source_is_service", **syn)
    story.service = MAIN[family][1]
    story.forward("drop_source_is_service", **syn)
    story.events()

    # The client reaches backends directly, too: without a flow a backend's packet is the kernel's.
    story = Story("direct-replies", family, l4)
    story.service, story.backend = DIRECT[family]
    story.reply("punt_not_service", **ack)
    story.forward(**syn)
    story.reply(**back)
    story.events(flow_created=1, **udp)


def told(name, family, l4, fullnat):
    """A story of a service whose backend is told of its clients."""
    story = Story(name, family, l4)
    story.service, story.backend = (FULL_TOLD_OF if fullnat else TOLD_OF)[family][:2]
    story.source = FULL_TOLD_OF[family][2] if fullnat else None
    return story


def told_tcp_stories(family, fullnat):
    """docs/decisions/0012, and RFC 9293, 2018, 2883, 7413, 8684."""
    n = 28 if family == 4 else 52
    tries = {"source_port_tries": 1} if fullnat else {}
    name = "fulltold" if fullnat else "told"
    mss = [("MSS", 1460), ("SAckOK", b"")]

    def opened(what):
        story = told(f"{name}-{what}", family, TCP, fullnat)
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        return story

    # What may not be negotiated becomes no operation, and the client's segments leave room.
    story = told(f"{name}-handshake-and-data", family, TCP, fullnat)
    story.forward(flags="S", seq=100, options=[*mss, (34, b""), (30, b"12345678"), ("Timestamp", (7, 0))],
                  out={"options": [*mss, *[("NOP", None)] * 12, ("Timestamp", (7, 0))]})
    story.reply(flags="SA", seq=500, ack=101, options=[*mss, (34, b"cookie12")],
                out={"options": [("MSS", 1460 - n), ("SAckOK", b""), *[("NOP", None)] * 10]})
    header = story.header()
    story.forward(flags="A", seq=101, ack=501, out={"payload": header})
    story.events(flow_created=1, flow_promoted=1, **tries)
    story.forward(flags="PA", seq=101, ack=501, payload=b"request", out={"payload": header + b"request"})
    story.forward(flags="PA", seq=108, ack=501, payload=b"more", out={"seq": 108 + n})
    story.reply(flags="A", seq=501, ack=101 + n, out={"ack": 101})
    story.forward(flags="PA", seq=101, ack=501, payload=b"request", out={"seq": 101 + n})
    story.reply(flags="PA", seq=501, ack=112 + n, payload=b"the answer", out={"ack": 112})
    story.forward(flags="A", seq=112, ack=511, out={"seq": 112 + n})
    story.reply(flags="A", seq=511, ack=112 + n, options=[("NOP", None), ("NOP", None), ("SAck", (130 + n, 140 + n))],
                out={"ack": 112, "options": [("NOP", None), ("NOP", None), ("SAck", (130, 140))]})
    story.forward(flags="FA", seq=112, ack=511, out={"seq": 112 + n})
    story.reply(flags="FA", seq=511, ack=113 + n, out={"ack": 113})
    story.forward(flags="A", seq=113, ack=512, out={"seq": 113 + n})
    # The same tuple once more: from the beginning.
    story.forward(flags="S", seq=9000)
    story.reply(flags="SA", seq=70000, ack=9001)
    story.forward(flags="A", seq=9001, ack=70001, out={"payload": header})
    story.events(flow_created=2, flow_ended=1, flow_promoted=2, **({"source_port_tries": 2} if fullnat else {}))

    # Whatever is lost on the way to the backend is repeated with its header.
    story = opened("header-lost")
    header = story.header()
    story.forward(flags="A", seq=101, ack=501, out={"payload": header})
    story.forward(flags="PA", seq=101, ack=501, payload=b"request", out={"payload": header + b"request"})
    story.reply(flags="SA", seq=500, ack=101)
    story.forward(flags="A", seq=108, ack=501, out={"seq": 108 + n})
    story.reply(flags="A", seq=501, ack=101)
    story.forward(flags="PA", seq=101, ack=501, payload=b"request", out={"payload": header + b"request"})
    story.reply(flags="A", seq=501, ack=108 + n, out={"ack": 108})

    # A keepalive before the first byte, FIN as the first, and a report of a header that came twice.
    story = opened("no-data")
    header = story.header()
    story.forward(flags="A", seq=100, ack=501, out={"seq": 101, "payload": header})
    story.forward(flags="FA", seq=101, ack=501, out={"payload": header})
    story.reply(flags="A", seq=501, ack=101 + n, options=[("NOP", None), ("NOP", None), ("SAck", (101, 101 + n))],
                out={"ack": 101, "options": [("NOP", None), ("NOP", None), ("SAck", (101, 101))]})
    story.reply(flags="FA", seq=501, ack=102 + n, out={"ack": 102})
    story.forward(flags="A", seq=102, ack=502, out={"seq": 102 + n})

    # Nothing of the client's may stand where the header goes.
    story = told(f"{name}-refused", family, TCP, fullnat)
    story.forward("drop_before_header", flags="S", seq=100, payload=b"early")
    story.forward(flags="S", seq=100)
    story.forward("drop_before_header", flags="A", seq=101, ack=1, payload=b"early")
    story.reply(flags="SA", seq=500, ack=101)
    story.forward("drop_before_header", flags="A", seq=99, ack=501, payload=b"PROXY forged")
    story.forward(flags="A", seq=101, ack=501, out={"payload": story.header()})

    # A reset stands where the backend stands.
    story = opened("reset-before-header")
    story.forward(flags="R", seq=101)
    story = opened("reset-after-header")
    story.forward(flags="A", seq=101, ack=501, out={"payload": story.header()})
    story.forward(flags="R", seq=101, out={"seq": 101 + n})
    story = opened("reset-by-backend")
    story.forward(flags="A", seq=101, ack=501, out={"payload": story.header()})
    story.reply(flags="RA", seq=501, ack=101 + n, out={"ack": 101})

    # Without its flow nobody knows how a connection is shifted.
    story = told(f"{name}-without-flow", family, TCP, fullnat)
    story.forward("drop_no_flow", flags="A", seq=101, ack=501)
    story.forward("drop_no_flow", flags="R", seq=101)
    story.reply("punt_not_service", flags="A", seq=501, ack=101)
    story.error("client", "drop_icmp_no_flow")
    story.error("backend", "punt_icmp")
    story.events(reset_sent=1)

    # Full-sized segments: with the header too large, and then not.
    room = 1500 - (20 if family == 4 else 40) - 20
    story = opened("full-sized")
    too_big = {"flags": "A", "seq": 101, "ack": 501, "payload": b"x" * (room - n + 1)}
    story.forward("drop_too_big", **too_big)
    story.ip_flags = "DF"
    story.forward("drop_too_big", **too_big)
    story.ip_flags = 0
    story.forward(flags="A", seq=101, ack=501, payload=b"x" * (room - n), out={"payload": story.header() + b"x" * (room - n)})
    story.reply(flags="A", seq=501, ack=101 + room, out={"ack": 101 + room - n})
    story.forward(flags="A", seq=101 + room - n, ack=501, payload=b"x" * room, out={"seq": 101 + room})
    story.events(flow_created=1, flow_promoted=1, too_big_sent=1 if family == 4 else 2, **tries)

    # Errors: the client's bytes have their own numbers, and a header to come takes part of an MTU.
    story = opened("errors")
    story.error("backend", "reply", seq=101, mtu_out=1400 - n)
    story.forward(flags="A", seq=101, ack=501, out={"payload": story.header()})
    story.error("backend", "reply", seq=101 + n, seq_out=101, mtu_out=1400 - n, n_quoted=40)
    story.error("backend", "reply", seq=101 + n + 9, seq_out=110, mtu_out=1400 - n)
    story.reply(flags="A", seq=501, ack=101 + n, out={"ack": 101})
    story.error("backend", "reply", seq=101 + n, seq_out=101, n_quoted=20)
    story.error("backend", "reply", "unreachable", seq=5000, seq_out=5000 - n)
    story.error("client", "forward", seq=501, fullnat=fullnat)
    story.events(flow_created=1, flow_promoted=1, icmp_error=6, **tries)


def told_udp_stories(family, fullnat):
    n = 28 if family == 4 else 52
    story = told("fulltold-datagrams" if fullnat else "told-datagrams", family, UDP, fullnat)
    for payload in (b"", b"question", b"another"):
        story.forward(payload=payload, out={"payload": story.header() + payload})
        story.reply(payload=b"answer")
    room = 1500 - (20 if family == 4 else 40) - 8 - n
    story.forward(payload=b"x" * room, out={"payload": story.header() + b"x" * room})
    story.forward("drop_ttl", ttl=1, payload=b"question")
    story.reply("drop_ttl", ttl=1, payload=b"answer")
    story.forward("drop_too_big", payload=b"x" * (room + 1))
    story.ip_flags = "DF"
    story.forward("drop_too_big", payload=b"x" * (room + 1))
    story.ip_flags = 0
    story.reply(payload=b"x" * (room + n))
    story.error("backend", "reply")
    story.error("client", "forward", fullnat=fullnat)
    story.events(flow_created=1, flow_promoted=1, icmp_error=2, time_exceeded_sent=2,
                 too_big_sent=1 if family == 4 else 2, **({"source_port_tries": 1} if fullnat else {}))


def turn_story(family, l4):
    """Weighted round robin; what begins no flow goes by the hash and takes no turn."""
    story = Story("turn", family, l4)
    story.service, backends = TURN[family]
    protocol = 6 if l4 is TCP else 17
    slots = turns(backends, TURN_WEIGHTS)
    for turn in range(12):
        story.sport, story.backend = 40000 + turn, slots[turn]
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        if l4 is TCP:
            story.sport += 1000
            story.backend = chosen(slots, family, protocol, story.client, story.sport, story.service, story.dport)
            story.forward(flags="A", seq=101, ack=501)
    story.events(flow_created=24 if l4 is TCP else 12, **({"flow_promoted": 12} if l4 is UDP else {}))


def least_story(family, l4):
    """Each new flow goes where the fewest are, for the weight; one of weight 0 gets none."""
    story = Story("least", family, l4)
    story.service, backends = LEAST[family]
    protocol = 6 if l4 is TCP else 17
    flows = {backend: 0 for backend in backends}
    for story.sport in range(40000, 40016):
        number = hashed(family, protocol, story.client, story.sport, story.service, story.dport)
        story.backend = least(backends, LEAST_WEIGHTS, flows, number)
        flows[story.backend] += 1
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
    assert [flows[backend] for backend in backends] == [4, 8, 4, 0]
    story.events(flow_created=16, **({"flow_promoted": 16} if l4 is UDP else {}))


def origin_story(family, l4):
    """All flows of one client go to one backend."""
    story = Story("origin", family, l4)
    story.service, backends = ORIGIN[family]
    protocol = 6 if l4 is TCP else 17
    slots = maglev(backends, family, protocol, (1, 1, 1))
    seen = set()
    for host in range(10, 22):
        story.client = f"192.0.2.{host}" if family == 4 else f"2001:db8:3::{host}"
        story.backend = chosen(slots, family, protocol, story.client, 0, story.service, story.dport)
        seen.add(story.backend)
        for story.sport in (40000, 40001, 50000):
            story.forward(flags="S", seq=100)
            story.reply(flags="SA", seq=500, ack=101)
    assert len(seen) == 3
    story.events(flow_created=36, **({"flow_promoted": 36} if l4 is UDP else {}))


def limit_story(family, l4):
    """As many flows as each backend may have, then none; what is there goes on."""
    story = Story("limit", family, l4)
    story.service, backends = LIMIT[family]
    protocol = 6 if l4 is TCP else 17
    slots = maglev(backends, family, protocol, (1, 1))
    flows = {backend: 0 for backend in backends}
    n_full = 0
    for story.sport in range(40000, 40008):
        number = hashed(family, protocol, story.client, story.sport, story.service, story.dport)
        backend = slots[(number >> 32) * N_SLOTS >> 32]
        if flows[backend] >= MAX_FLOWS:
            n_full += 1
            backend = least(backends, (1, 1), flows, number, MAX_FLOWS)
        if backend is None:
            story.forward("drop_backends_full", flags="S", seq=100)
            continue
        story.backend = backend
        flows[backend] += 1
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        first = (story.sport, backend) if sum(flows.values()) == 1 else first
    story.sport, story.backend = first
    story.forward(flags="A", seq=101, ack=501)
    key = "reset_sent" if l4 is TCP else "unreachable_sent"
    story.events(flow_created=4, backend_full=n_full, flow_promoted=4 if l4 is UDP else 1, **{key: 4})


def stick_story(family, l4):
    """Clients with one prefix keep the backend of their last new flow, as long as it may take new ones."""
    story = Story("stick", family, l4)
    story.service, backends = STICK[family]
    protocol = 6 if l4 is TCP else 17
    far, near = story.client, (FAR[family], str(ipaddress.ip_address(FAR[family]) + 1))
    sports, turn = itertools.count(40000), itertools.count()
    counts = {"kept": 0, "made": 0}

    def begin(client, backend, what):
        story.client, story.backend, story.sport = client, backend, next(sports)
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        counts[what] += 1

    def scheduled(weights=(1, 1, 1)):
        return turns(backends, weights)[next(turn)]

    first = scheduled()
    begin(near[0], first, "made")
    for client in (near[0], near[1], near[0]):
        begin(client, first, "kept")
    begin(far, scheduled(), "made")
    if l4 is TCP:
        story.client, story.sport = near[0], 50000
        story.backend = chosen(turns(backends, (1, 1, 1)), family, protocol, story.client, story.sport, story.service, story.dport)
        story.forward(flags="A", seq=101, ack=501)
    story.tables("stick-light")
    for client in near:
        begin(client, first, "kept")
    story.tables("stick-full")
    second = scheduled()
    assert first == backends[0] and second == backends[2]
    begin(near[0], second, "made")
    begin(near[1], second, "kept")
    story.tables("stick-drain")
    third = scheduled((1, 1, 0))
    begin(near[0], third, "made")
    story.tables("base")
    for client in near:
        begin(client, third, "kept")
    n = counts["kept"] + counts["made"]
    story.events(flow_created=n + (1 if l4 is TCP else 0), affinity_kept=counts["kept"], affinity_made=counts["made"],
                 **({"flow_promoted": n} if l4 is UDP else {}))


def canary_story(family, l4):
    """New flows of the canary's clients are its group's as long as that can take any; those there are stay."""
    story = Story("canary", family, l4)
    story.service, (rest, group) = CANARY[family]
    sports = itertools.count(40000)
    begun = []

    def begin(client, backend):
        story.client, story.backend, story.sport = client, backend, next(sports)
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        begun.append((client, backend, story.sport))

    def go_on():
        for story.client, story.backend, story.sport in begun:
            story.forward(flags="A", seq=101, ack=501)

    for client in CANARY_CLIENTS[family]:
        begin(client, group)
    for client in OTHER_CLIENTS[family]:
        begin(client, rest)
    n_learnt = 0
    if l4 is TCP:  # of a connection that nobody knows
        story.client, story.backend, story.sport = CANARY_CLIENTS[family][0], group, 50000
        story.forward(flags="A", seq=101, ack=501)
        n_learnt = 1
    for variant in ("canary-none", "canary-down", "canary-full"):
        story.tables(variant)
        begin(CANARY_CLIENTS[family][1], rest)
        begin(OTHER_CLIENTS[family][1], rest)
        go_on()
    story.tables("base")
    begin(CANARY_CLIENTS[family][1], group)
    go_on()
    story.events(flow_created=len(begun) + n_learnt, backend_full=1, flow_promoted=len(begun))


def fragment_stories(family):
    """RFC 791, 1858, 5722, 8200: whatever the first one is, is the rest."""
    udp = {"flow_created": 1, "flow_promoted": 1}

    def fragmented(name, l4=UDP):
        return Story(f"fragments-{name}", family, l4)

    story = fragmented("in-order")
    for piece in story.pieces("client", (64, 128)):
        story.piece("client", "forward", piece)
    for piece in story.pieces("backend", (64, 128)):
        story.piece("backend", "reply", piece)
    story.events(fragment=6, **udp)

    story = fragmented("out-of-order")
    first, second, third, fourth = story.pieces("client", (8, 16, 104), n=1000)
    for piece in (first, fourth, second, third):
        story.piece("client", "forward", piece)
    # It is whole, and so what has the same identification is another one.
    for piece in story.pieces("client", (64,), ident=first[0].ident):
        story.piece("client", "forward", piece)
    story.events(fragment=6, flow_created=1)

    story = fragmented("two-at-once")
    for one, other in zip(story.pieces("client", (64, 128)), story.pieces("client", (128, 136))):
        story.piece("client", "forward", one)
        story.piece("client", "forward", other)
    story.events(fragment=6, flow_created=1)

    story = fragmented("without-flow")
    for piece in story.pieces("backend", (64, 128)):
        story.piece("backend", "reply", piece)
    story.events(fragment=3, stateless_reply=3)

    story = full("fragments-fullnat", family, UDP)
    for piece in story.pieces("client", (64, 128)):
        story.piece("client", "forward", piece)
    for piece in story.pieces("backend", (64, 128)):
        story.piece("backend", "reply", piece)
    story.events(fragment=6, source_port_tries=1, **udp)

    story = fragmented("duplicate")
    first, second, third = story.pieces("client", (64, 128))
    story.piece("client", "forward", first)
    story.piece("client", "drop_fragment_overlap", first)
    story.piece("client", "forward", second)
    story.piece("client", "drop_fragment_overlap", first)
    story.piece("client", "drop_fragment_overlap", second, payload=second[0].payload[:16])
    story.piece("client", "forward", third)
    story.events(fragment=3, flow_created=1)

    # Port 80 shown, port 22 meant (RFC 1858).
    story = fragmented("overlap")
    first, second, third = story.pieces("client", (64, 128))
    story.piece("client", "forward", first)
    story.piece("client", "drop_fragment_overlap", second, at=56)
    story.piece("client", "drop_fragment_overlap", second)
    story.piece("client", "drop_fragment_overlap", third)
    story.piece("client", "drop_fragment_overlap", first)
    # Of another length than it was said to be.
    first, second, third = story.pieces("client", (64, 128))
    story.piece("client", "forward", first)
    story.piece("client", "forward", third)
    story.piece("client", "drop_fragment_overlap", third, at=256, payload=b"x" * 8)
    story.piece("client", "drop_fragment_overlap", second)
    story.events(fragment=3, flow_created=1)

    # As many holes as are remembered, and one more.
    story = fragmented("holes")
    pieces = story.pieces("client", range(8, 200, 8))
    story.piece("client", "forward", pieces[0])
    for piece in pieces[2:16:2]:
        story.piece("client", "forward", piece)
    story.piece("client", "drop_fragment_overlap", pieces[16])
    story.piece("client", "drop_fragment_overlap", pieces[1])
    story.events(fragment=8, flow_created=1)

    story = fragmented("malformed")
    first, second, third = story.pieces("client", (64, 128))
    story.piece("client", "forward", first)
    story.piece("client", "drop_fragment_malformed", second, payload=second[0].payload[:-1])
    story.piece("client", "drop_fragment_malformed", second, payload=b"")
    story.piece("client", "drop_fragment_malformed", third, at=65528, payload=b"x" * 9)
    story.piece("client", "drop_fragment_malformed", first, payload=bytes(64))  # ports 0
    story.piece("client", "forward", second)
    story.piece("client", "drop_ttl", third, ttl=1)
    story.events(fragment=3, flow_created=1)

    story = fragmented("tiny", TCP)
    story.handshake()
    first, second = story.pieces("client", (24,), flags="A", seq=101, ack=501)
    for n in (8, 16):
        story.piece("client", "drop_fragment_tiny", first, payload=first[0].payload[:n])
    story.piece("client", "forward", first)
    story.piece("client", "forward", second)
    story.events(fragment=2, flow_created=1, flow_promoted=1)

    # Numbers are the first one's to say.
    story = fragmented("segments", TCP)
    for piece in story.pieces("client", (24,), flags="S", seq=100, n=8):
        story.piece("client", "forward", piece)
    story.reply(flags="SA", seq=500, ack=109)
    story.forward(flags="A", seq=109, ack=501)
    for piece in story.pieces("backend", (64, 128), flags="A", seq=501, ack=109):
        story.piece("backend", "reply", piece)
    for piece in story.pieces("client", (64, 128), flags="FA", seq=109, ack=701):
        story.piece("client", "forward", piece)
    story.reply(flags="FA", seq=701, ack=310)
    story.forward(flags="A", seq=310, ack=702)
    story.events(fragment=8, flow_created=1, flow_promoted=1)
    story.forward(flags="S", seq=9000)
    story.events(fragment=8, flow_created=2, flow_ended=1, flow_promoted=1)

    # The first one's fate is the others', but its sender is told once, and of whole segments alone.
    story = fragmented("backend-gone")
    first, second, third = story.pieces("client", (64, 128))
    story.piece("client", "forward", first)
    story.tables("maint")
    story.piece("client", "drop_backend_gone", second)
    story.piece("client", "drop_backend_gone", third)
    story.events(fragment=3, flow_created=1)
    story = fragmented("backend-gone", TCP)
    story.handshake()
    story.tables("maint")
    for piece in story.pieces("client", (64, 128), flags="A", seq=101, ack=501):
        story.piece("client", "drop_backend_gone", piece)
    story.events(fragment=3, flow_created=1, flow_promoted=1)

    story = fragmented("no-service")
    story.dport = 81
    for piece in story.pieces("client", (64, 128)):
        story.piece("client", "punt_fragment", piece)
    story.dport, story.bport = 80, 8081
    for piece in story.pieces("backend", (64, 128)):
        story.piece("backend", "punt_fragment", piece)
    story.client, story.bport = OWN[family], 8080
    for piece in story.pieces("backend", (64, 128)):
        story.piece("backend", "punt_local", piece)
    story.events(fragment=9)

    # Nothing is put into a fragment.
    for fullnat in (False, True):
        tries = {"source_port_tries": 1} if fullnat else {}
        story = told("fragments-fulltold" if fullnat else "fragments-told", family, UDP, fullnat)
        story.forward(payload=b"question", out={"payload": story.header() + b"question"})
        for piece in story.pieces("client", (64, 128)):
            story.piece("client", "drop_fragment_header", piece)
        for piece in story.pieces("backend", (64, 128)):
            story.piece("backend", "reply", piece)
        story.events(fragment=6, **udp, **tries)
        story = told("fragments-fulltold" if fullnat else "fragments-told", family, TCP, fullnat)
        story.forward(flags="S", seq=100)
        story.reply(flags="SA", seq=500, ack=101)
        for piece in story.pieces("backend", (64, 128), flags="A", seq=501, ack=101):
            story.piece("backend", "drop_fragment_header", piece)
        story.events(fragment=3, flow_created=1, **tries)


class Passage(Story):
    """Mode snat: a client comes in where the backends are, and leaves where the clients are."""

    def __init__(self, name, family, l4, network="office"):
        super().__init__(f"snat-{name}", family, l4)
        self.is_egress = True
        self.client, self.source = NETWORKS[network][family]
        self.peer, self.pport = MAIN[family][0], 443  # whom the client talks to
        self.side, self.other_side = ("backend", "client") if network == "office" else ("client", "backend")

    def ends(self, port):
        if port == self.side:
            return (self.client, self.sport, self.peer, self.pport), (self.source, SOURCE_PORT, self.peer, self.pport)
        return (self.peer, self.pport, self.source, SOURCE_PORT), (self.peer, self.pport, self.client, self.sport)

    def forward(self, verdict="forward", payload=b"", ttl=64, out=None, **fields):
        self.line(self.side, verdict, *self.ends(self.side), payload, ttl, fields, out)

    def reply(self, verdict="reply", payload=b"", ttl=64, out=None, **fields):
        self.line(self.other_side, verdict, *self.ends(self.other_side), payload, ttl, fields, out)

    def back(self, other, verdict="forward", payload=b"", **fields):
        """To the source of the other network's client, and so to that client."""
        self.line(self.side, verdict, (self.client, self.sport, other.source, SOURCE_PORT),
                  (self.source, SOURCE_PORT, other.client, other.sport), payload, 64, fields)

    def echo(self, verdict, ident=77, ident_out=SOURCE_PORT, is_request=True, ttl=64):
        port = self.side if is_request else self.other_side
        idents = (ident, ident_out) if is_request else (ident_out, ident)
        frames = []
        for ends, number, is_out in zip(self.ends(port), idents, (False, True)):
            source, _, destination, _ = ends
            if self.family == 4:
                packet = IP(src=source, dst=destination, ttl=ttl - is_out) / \
                    ICMP(type=8 if is_request else 0, id=number, seq=5)
            else:
                kind = ICMPv6EchoRequest if is_request else ICMPv6EchoReply
                packet = IPv6(src=source, dst=destination, hlim=ttl - is_out) / kind(id=number, seq=5)
            frames.append(raw(Ether(**(OUT if is_out else IN)) / packet / Raw(b"abcdefgh" * 7)).hex())
        out = frames[1] if verdict in ("forward", "reply") else "-"
        if verdict == "drop_ttl":
            out = raw(expired(Ether(bytes.fromhex(frames[0])), self.source)).hex()
        if verdict in ("drop_no_source_port", "drop_denied") and is_request:  # administratively prohibited, by whom it was sent to
            source, _, destination, _ = self.ends(port)[0]
            whole = bytes.fromhex(frames[0])
            packet = IP(src=destination, dst=source, ttl=64, id=0, flags="DF") / ICMP(type=3, code=13) / \
                Raw(whole[14:14 + 28]) if self.family == 4 else \
                IPv6(src=destination, dst=source, hlim=64) / ICMPv6DestUnreach(code=1) / Raw(whole[14:14 + 48])
            out = raw(Ether(src=IN["dst"], dst=IN["src"]) / packet).hex()
        print(self.name, port, verdict, frames[0], out)

    def trouble(self, port, verdict, kind="unreachable", source=None, quoted=None, ttl=64):
        """An ICMP error that comes in at @port, about a packet that went out there. @quoted: an echo's identifiers."""
        had, sent = self.ends(self.other_side if port == self.side else self.side)  # as it came, and as it left
        is_inside = port == self.side
        target = sent[0]
        source = source or (self.client if is_inside else ROUTER[self.family])
        source_out = self.source if is_inside else source
        destination_out = had[0]

        def packet(ends, is_before):
            one, sport, other, dport = ends
            ip = IP(src=one, dst=other, ttl=1) if self.family == 4 else IPv6(src=one, dst=other, hlim=1)
            if quoted is None:
                return raw(ip / self.l4(sport=sport, dport=dport) / Raw(b"payload" * 5))
            number = quoted[0] if is_before else quoted[1]
            echo = ICMP(type=8, id=number, seq=5) if self.family == 4 else ICMPv6EchoRequest(id=number, seq=5)
            return raw(ip / echo / Raw(b"abcdefgh" * 5))

        def frame(one, other, is_out, quotation, ttl):
            if self.family == 4:
                ip = IP(src=one, dst=other, ttl=ttl)
                icmp = {"too big": ICMP(type=3, code=4, nexthopmtu=1400), "unreachable": ICMP(type=3, code=1),
                        "time": ICMP(type=11)}[kind]
            else:
                ip = IPv6(src=one, dst=other, hlim=ttl)
                icmp = {"too big": ICMPv6PacketTooBig(mtu=1400), "unreachable": ICMPv6DestUnreach(code=0),
                        "time": ICMPv6TimeExceeded()}[kind]
            return raw(Ether(**(OUT if is_out else IN)) / ip / icmp / Raw(quotation)).hex()

        into = frame(source, target, False, packet(sent, False), ttl)
        out = frame(source_out, destination_out, True, packet(had, True), ttl - 1)
        print(self.name, port, verdict, into, out if verdict in ("forward", "reply") else "-")


def snat_stories(family, l4):
    syn = {"flags": "S", "seq": 100}
    back = {"flags": "SA", "seq": 500, "ack": 101}
    ack = {"flags": "A", "seq": 101, "ack": 501}
    made = {"flow_created": 1, "source_port_tries": 1}
    told = {"reset_sent": 1} if l4 is TCP else {"unreachable_sent": 1}
    tcp = {"flow_promoted": 1} if l4 is TCP else {}

    # RFC 4787 REQ-1, REQ-8: one source whoever it talks to, and anybody may answer.
    story = Passage("anybody", family, l4)
    story.forward(payload=b"question" if l4 is UDP else b"", **syn)
    story.reply(payload=b"answer" if l4 is UDP else b"", **back)
    story.forward(**ack)
    story.events(**made, **tcp)
    story.peer, story.pport = FAR[family], 8443
    story.reply(**syn)
    story.forward(**back)
    story.pport = 9443
    story.forward(**syn)
    story.reply(**back)
    story.events(**made, **tcp)

    # RFC 4787 REQ-3: nobody else is given the source.
    story = Passage("taken", family, l4)
    story.forward(**syn)
    story.sport = 40001
    story.forward("drop_no_source_port", **syn)
    story.sport = 40000
    story.reply(**back)
    story.events(flow_created=1, source_port_tries=2, **told)

    # Without a mapping nothing comes in, and nobody is told (RFC 5382 REQ-4).
    story = Passage("unasked", family, l4)
    story.reply("drop_no_mapping", **syn)
    story.reply("drop_no_mapping", **ack)
    story.events()

    story = Passage("ttl", family, l4)
    story.forward("drop_ttl", ttl=1, **syn)
    story.forward(**syn)
    story.reply("drop_ttl", ttl=1, **back)
    story.events(**made, time_exceeded_sent=2)

    # What is not led out: to services, to each other, to the host, to nowhere.
    story = Passage("elsewhere", family, l4)
    story.peer, story.pport = OWN[family], 22
    story.forward("punt_not_service", **syn)
    story.peer = NETWORKS["annex"][family][0]
    story.forward("punt_not_service", **syn)
    story.peer = MAIN[family][1]
    story.forward("punt_not_service", **syn)
    story.peer = FULL[family][2]
    story.forward("punt_not_service", **syn)
    story.peer = STRANGER[family]
    story.forward("punt_not_service", **syn)
    story.events()

    story = Passage("spoofed", family, l4)
    story.forward(**syn)
    story.peer = MAIN[family][1]
    story.reply("drop_source_is_service", **back)
    story.peer = NETWORKS["annex"][family][1]
    story.reply("drop_source_is_service", **back)
    story.events(**made)

    # RFC 4787 REQ-9: from one client to the source of another, with its own source.
    story = Passage("back", family, l4)
    other = Passage("back", family, l4, "annex")
    story.back(other, "drop_no_mapping", **syn)
    other.peer, other.side, other.other_side = MAIN[family][2], "client", "backend"
    other.forward(**syn)
    story.back(other, payload=b"hello" if l4 is UDP else b"", **syn)
    other.back(story, payload=b"welcome" if l4 is UDP else b"", **back)
    story.back(other, **ack)
    story.events(flow_created=2, source_port_tries=2, **({"flow_promoted": 2} if l4 is TCP else {}))

    # Not to where the service denies, nor from there; all else of the client's goes on.
    story = Passage("denied", family, l4)
    story.forward(**syn)
    story.reply(**back)
    main, story.peer = story.peer, DENIED[family][0]
    story.forward("drop_denied", **syn)
    story.reply("drop_denied", **back)
    story.peer = DENIED[family][1]
    story.forward("drop_denied", **ack)
    story.trouble("client", "drop_denied")
    story.trouble("backend", "drop_denied")
    for piece in story.pieces("backend", (64, 128), **({"flags": "A", "seq": 101} if l4 is TCP else {})):
        story.piece("backend", "drop_denied", piece)
    story.peer = main
    story.forward(**ack)
    told_twice = {name: 2 for name in told}
    story.events(**made, **tcp, **told_twice, fragment=3)

    story = Passage("denied-client", family, l4)
    story.client = DENIED_CLIENT[family]
    story.forward("drop_denied", **syn)
    story.trouble("backend", "drop_denied")
    story.events(**told)

    # A mapping that lives is judged by the list as it is.
    story = Passage("denied-later", family, l4)
    story.forward(**syn)
    story.reply(**back)
    story.tables("strict")
    story.forward("drop_denied", **ack)
    story.reply("drop_denied", **ack)
    story.tables("base")
    story.forward(**ack)
    story.events(**made, **tcp, **told)

    # Between two clients, at either end: the one that sends is told.
    story = Passage("denied-back", family, l4)
    other = Passage("denied-back", family, l4, "annex")
    story.forward(**syn)
    other.peer, other.side, other.other_side = MAIN[family][2], "client", "backend"
    other.forward(**syn)
    story.back(other, **syn)
    story.tables("strict")
    story.back(other, "drop_denied", **ack)
    other.back(story, "drop_denied", **back)
    story.tables("base")
    other.back(story, **back)
    told_twice = {name: 2 for name in told}
    promoted = {"flow_promoted": 2} if l4 is TCP else {}
    story.events(flow_created=2, source_port_tries=2, **promoted, **told_twice)

    # The service goes, and its flows with it.
    story = Passage("closed", family, l4)
    story.forward(**syn)
    story.tables("closed")
    story.forward("punt_not_service", **syn)
    story.reply("punt_not_service", **back)
    story.tables("base")
    story.reply("drop_no_mapping", **back)
    story.forward(**syn)
    story.events(flow_created=2, flow_ended=1, source_port_tries=2)

    # RFC 5508 REQ-3 to 6.
    story = Passage("errors", family, l4)
    story.trouble("client", "drop_no_mapping")
    story.trouble("backend", "punt_icmp")
    story.forward(**syn)
    for kind in ("unreachable", "time", "too big"):
        story.trouble("client", "reply", kind)
        story.trouble("backend", "forward", kind)
    story.trouble("client", "drop_ttl", ttl=1)
    story.events(**made, icmp_error=6)

    # RFC 4787 REQ-14.
    story = Passage("fragments", family, l4)
    fields = {"flags": "S", "seq": 100} if l4 is TCP else {}
    for piece in story.pieces("backend", (64, 128), **fields):
        story.piece("backend", "forward", piece)
    for piece in story.pieces("client", (64, 128), **({"flags": "A", "seq": 1, "ack": 1} if l4 is TCP else {})):
        story.piece("client", "reply", piece)
    story.events(**made, fragment=6)


def snat_tcp_stories(family):
    # Its next connection has the same source, also after the end of the one before.
    story = Passage("reopen", family, TCP)
    story.handshake()
    story.forward(flags="FA", seq=101, ack=501)
    story.reply(flags="FA", seq=501, ack=102)
    story.forward(flags="A", seq=102, ack=502)
    story.peer = FAR[family]
    story.handshake()
    story.events(flow_created=1, flow_promoted=2, source_port_tries=1)

    # Two at a time: the end of one is not the other's, and gives no source away.
    story = Passage("two", family, TCP)
    story.handshake()
    story.peer = FAR[family]
    story.handshake()
    story.forward(flags="FA", seq=101, ack=501)
    story.reply(flags="FA", seq=501, ack=102)
    story.peer = MAIN[family][0]
    story.forward(flags="PA", seq=101, ack=501, payload=b"still here")
    story.forward(flags="FA", seq=111, ack=501)
    story.reply(flags="FA", seq=501, ack=112)
    story.sport = 40001
    story.forward("drop_no_source_port", flags="S", seq=9)
    story.events(flow_created=1, flow_promoted=1, source_port_tries=2, reset_sent=1)

    # Over, the client having ended first: the source is another's to have.
    story = Passage("yields", family, TCP)
    story.handshake()
    story.forward(flags="FA", seq=101, ack=501)
    story.reply(flags="FA", seq=501, ack=102)
    story.sport = 40001
    story.handshake()
    story.events(flow_created=2, flow_ended=1, flow_promoted=2, source_port_tries=2, source_port_reused=1)

    story = Passage("without-flow", family, TCP)
    story.forward("drop_no_flow", flags="PA", seq=7, ack=9, payload=b"late")
    story.forward("drop_no_flow", flags="R", seq=7)
    story.events(reset_sent=1)

    # RFC 5382 REQ-2: simultaneous open.
    story = Passage("simultaneous", family, TCP)
    story.forward(flags="S", seq=100)
    story.reply(flags="S", seq=500)
    story.forward(flags="SA", seq=100, ack=501)
    story.reply(flags="SA", seq=500, ack=101)
    story.events(flow_created=1, flow_promoted=1, source_port_tries=1)


def snat_echo_stories(family):
    story = Passage("echo", family, UDP)
    story.echo("drop_no_mapping", is_request=False)
    story.echo("forward")
    story.echo("reply", is_request=False)
    story.peer = FAR[family]
    story.echo("forward")
    story.echo("reply", is_request=False)
    story.trouble("client", "reply", quoted=(77, SOURCE_PORT))
    story.trouble("client", "reply", kind="time", quoted=(77, SOURCE_PORT))
    story.echo("drop_ttl", ttl=1)
    story.echo("drop_no_source_port", ident=78)
    main, story.peer = story.peer, DENIED[family][0]
    story.echo("drop_denied")
    story.echo("drop_denied", is_request=False)
    story.peer = main
    story.peer = OWN[family]
    story.echo("punt_icmp")
    story.events(flow_created=1, source_port_tries=2, icmp_error=2, time_exceeded_sent=1, unreachable_sent=2)


for version in (4, 6):
    for with_source in (False, True):
        told_tcp_stories(version, with_source)
        told_udp_stories(version, with_source)
    tcp_stories(version)
    opening_stories(lambda name: Story(name, version, TCP))
    opening_stories(lambda name: full(f"fullnat-{name}", version, TCP))
    opening_stories(lambda name: told(f"told-{name}", version, TCP, False), is_told=True)
    unopened_stories(version)
    udp_stories(version)
    for layer4 in (TCP, UDP):
        common_stories(version, layer4)
    for layer4 in (TCP, UDP):
        turn_story(version, layer4)
        least_story(version, layer4)
        origin_story(version, layer4)
        limit_story(version, layer4)
        stick_story(version, layer4)
        canary_story(version, layer4)
    fragment_stories(version)
    fullnat_tcp_stories(version)
    for layer4 in (TCP, UDP):
        fullnat_stories(version, layer4)
        error_stories(version, layer4)

for version in (4, 6):
    for layer4 in (TCP, UDP):
        snat_stories(version, layer4)
    snat_tcp_stories(version)
    snat_echo_stories(version)
