#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Prints stories.txt: sequences of packets on one flow state, built by scapy like packets.txt.

    STORY client VERDICT FRAME-IN FRAME-OUT     a frame comes in where the clients are
    STORY backend VERDICT FRAME-IN FRAME-OUT    or where the backends are
    STORY tables VARIANT - -                    the tables become another variant
    STORY events NAME=N,... - -                 what the engine counted in the story so far

Lines of one story follow each other; it starts without flows, with the tables "base". FRAME-OUT is -
where nothing is sent; a punted frame goes to the kernel as it came. The tables are those of
tests/conformance/tables.c, written here a second time, hash and Maglev included: nothing of ours is
asked for what is expected.
"""
import ipaddress
import sys

sys.dont_write_bytecode = True

from make_vectors import B, B6, C, C6, IN, OUT, S, S6  # noqa: E402
from scapy.all import IP, IPv6, TCP, UDP, Ether, Raw, raw  # noqa: E402

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
FAR = {4: "192.0.2.5", 6: "2001:db8:3::5"}  # a client behind a gateway


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


def maglev(backends, family, protocol):
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
            walker["credit"] += WEIGHTS[walker["position"]]
            if walker["credit"] < max(WEIGHTS) or len(slots) == N_SLOTS:
                continue
            walker["credit"] -= max(WEIGHTS)
            slots[next(s for s in walker["order"] if s not in slots)] = backends[walker["position"]]
    return slots


def chosen(slots, family, protocol, client, sport, service, dport):
    """The backend of a client's tuple."""
    ports = protocol << 32 | little(dport) << 16 | little(sport)
    if family == 4:
        message = [words(service)[0] << 32 | words(client)[0], ports]
    else:
        message = words(client) + words(service) + [ports]
    return slots[(siphash13(message) >> 32) * N_SLOTS >> 32]


class Story:
    """Prints a story's lines; a frame's two sides are given by their addresses and ports."""

    def __init__(self, name, family, l4):
        self.name, self.family, self.l4 = f"v{family}-{l4.__name__.lower()}-{name}", family, l4
        self.client, self.service, self.backend = MAIN[family]
        self.sport, self.dport, self.bport = 40000, 80, 8080

    def frame(self, ends, is_out, payload, ttl, fields):
        source, sport, destination, dport = ends
        ip = IP(src=source, dst=destination, ttl=ttl) if self.family == 4 else IPv6(src=source, dst=destination, hlim=ttl)
        return raw(Ether(**(OUT if is_out else IN)) / ip / self.l4(sport=sport, dport=dport, **fields) / Raw(payload)).hex()

    def line(self, port, verdict, ends, ends_out, payload, ttl, fields):
        if self.l4 is UDP:
            fields = {}
        into = self.frame(ends, False, payload, ttl, fields)
        out = "-"
        if verdict in ("forward", "reply"):
            out = self.frame(ends_out, True, payload, ttl - 1, fields)
        print(self.name, port, verdict, into, out)

    def forward(self, verdict="forward", payload=b"", ttl=64, **fields):
        self.line("client", verdict, (self.client, self.sport, self.service, self.dport),
                  (self.client, self.sport, self.backend, self.bport), payload, ttl, fields)

    def reply(self, verdict="reply", payload=b"", ttl=64, **fields):
        self.line("backend", verdict, (self.backend, self.bport, self.client, self.sport),
                  (self.service, self.dport, self.client, self.sport), payload, ttl, fields)

    def tables(self, variant):
        print(self.name, "tables", variant, "- -")

    def events(self, **counts):
        print(self.name, "events", ",".join(f"{k}={v}" for k, v in counts.items()) or "none=0", "- -")

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
    story.events(flow_created=1, **({"flow_promoted": 1} if l4 is UDP else {}))

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
    story = Story("drain", family, l4)
    story.forward(**syn)
    story.tables("drain")
    story.reply(**back)
    story.forward(**ack)
    story.sport = 40001
    story.forward("drop_no_backend", **syn)
    story.reply(**ack)  # what a draining backend says is still translated
    story.events(flow_created=1 if l4 is UDP else 2, flow_promoted=1,
                 **({"stateless_reply": 1} if l4 is UDP else {"flow_from_reply": 1}))

    for variant in ("maint", "deleted"):
        story = Story(variant, family, l4)
        story.forward(**syn)
        story.reply(**back)
        story.forward(**ack)
        story.tables(variant)
        story.reply("drop_backend_gone", **ack)
        if l4 is TCP:
            story.forward("drop_backend_gone", **ack)
        story.forward("drop_no_backend", **syn)
        story.events(flow_created=1, flow_promoted=1, flow_ended=1)
        # No flow is left; a backend that is gone is nobody's, one in maintenance is not heard.
        story.reply("drop_backend_gone" if variant == "maint" else "punt_not_service", **ack)
        if variant == "maint":
            story.client = OWN[family]  # the answer to a health check
            story.reply("punt_local", **ack)
            story.client = MAIN[family][0]
        story.tables("base")
        story.forward(**syn)
        story.events(flow_created=2, flow_promoted=1, flow_ended=1)

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
    story.events(flow_created=2, flow_ended=1, flow_promoted=1 if l4 is TCP else 2)
    # The former backend is back: a new object, and the flow's own one has gone.
    story.tables("base")
    if l4 is TCP:
        story.forward("drop_backend_gone", **ack)
    story.backend = MAIN[family][2]
    story.forward(**syn)
    story.events(flow_created=3, flow_ended=2, flow_promoted=1 if l4 is TCP else 2)


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


for version in (4, 6):
    tcp_stories(version)
    udp_stories(version)
    for layer4 in (TCP, UDP):
        common_stories(version, layer4)
