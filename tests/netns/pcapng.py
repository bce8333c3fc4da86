# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""A pcapng file as its draft says, read strictly: each block whole, its length at both ends, padding of zeros."""
import collections
import struct

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
Packet = collections.namedtuple("Packet", "interface direction time_ns length data verdict service backend")


def options(body):
    """{code: value} of the options that end a block."""
    found = {}
    while True:
        code, length = struct.unpack_from("<HH", body)
        padded = (length + 3) // 4 * 4
        assert not any(body[4 + length:4 + padded])
        if code == 0:
            assert length == 0 and len(body) == 4
            return found
        assert code not in found
        found[code] = body[4:4 + length]
        body = body[4 + padded:]


def blocks(data):
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0 and struct.unpack_from("<I", data, length - 4)[0] == length
        yield kind, data[8:length - 4]
        data = data[length:]


def packet_of(body, names):
    number, high, low, captured, length = struct.unpack_from("<IIIII", body)
    padded = (captured + 3) // 4 * 4
    more = options(body[20 + padded:])
    words = more[1].decode().split(" ")
    told = dict(zip(words[1::2], words[2::2]))
    direction = {1: "in", 2: "out"}[struct.unpack("<I", more[2])[0]]
    return Packet(names[number], direction, high << 32 | low, length, body[20:20 + captured], words[0],
                  told.get("service"), told.get("backend"))


class Capture:
    """.program, .interfaces {name: snaplen}, .packets, .statistics {name: (received, dropped)}."""

    def __init__(self, path):
        self.interfaces, self.packets, self.statistics = {}, [], {}
        with open(path, "rb") as file:
            found = list(blocks(file.read()))
        kind, body = found.pop(0)
        assert kind == SECTION and struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
        self.program = options(body[16:])[4].decode()
        for kind, body in found:
            names = list(self.interfaces)
            if kind == INTERFACE:
                link, reserved, snaplen = struct.unpack_from("<HHI", body)
                more = options(body[8:])
                assert (link, reserved, more[9]) == (1, 0, b"\x09")
                self.interfaces[more[2].decode()] = snaplen
            elif kind == STATISTICS:
                number, more = struct.unpack_from("<I", body)[0], options(body[12:])
                self.statistics[names[number]] = tuple(struct.unpack("<Q", more[code])[0] for code in (4, 5))
            else:
                assert kind == PACKET
                self.packets.append(packet_of(body, names))
