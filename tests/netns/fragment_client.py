# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""fragment_client.py DEVICE ADDR PORT SIZE COUNT [PIECES]: datagrams of SIZE bytes, which the kernel sends
in fragments, or, with PIECES, fragments as that says: numbers of pieces of 1,000 bytes each, in the order
in which they are sent, by way of the default router's link address. Prints how many come back whole."""
import os
import socket
import subprocess
import sys

device, host, port, size, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
pieces = [int(word) for word in sys.argv[6].split(",")] if len(sys.argv) > 6 else None
is_six = ":" in host
PIECE = 1000


def link_addresses():
    """Of this host and of the router, which the kernel knows once it has sent something there."""
    router = subprocess.run(["ip", "-6" if is_six else "-4", "route", "get", host], check=True, capture_output=True,
                            text=True).stdout.split()
    router = router[router.index("via") + 1] if "via" in router else host
    known = subprocess.run(["ip", "neigh", "show", router, "dev", device], check=True, capture_output=True, text=True)
    with open(f"/sys/class/net/{device}/address") as file:
        return file.read().strip(), known.stdout.split()[known.stdout.split().index("lladdr") + 1]


def send_pieces(client, data, ident, links):
    from scapy.all import IP, UDP, Ether, IPv6, IPv6ExtHdrFragment, Raw, raw  # pylint: disable=import-outside-toplevel
    source, sport = client.getsockname()[:2]
    ip = IPv6(src=source, dst=host) if is_six else IP(src=source, dst=host, id=ident)
    whole = raw(ip / UDP(sport=sport, dport=port) / Raw(data))[len(raw(ip)):]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((device, 0))
        for piece in pieces:
            at, more = piece * PIECE, int((piece + 1) * PIECE < len(whole))
            if is_six:
                header = IPv6(src=source, dst=host) / IPv6ExtHdrFragment(nh=17, id=ident, offset=at // 8, m=more)
            else:
                header = IP(src=source, dst=host, id=ident, proto=17, frag=at // 8, flags=more)
            out.send(raw(Ether(src=links[0], dst=links[1]) / header / Raw(whole[at:at + PIECE])))


# A sender that moves to another CPU between two fragments has them handled there at once, in any order.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
good = 0
links = link_addresses() if pieces else None
for i in range(count):
    with socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.settimeout(5 if pieces is None else 1)  # busy hosts take their time
        client.connect((host, port))
        data = os.urandom(size)
        if pieces is None:
            client.send(data)
        else:
            send_pieces(client, data, int.from_bytes(os.urandom(2), "big") or 1, links)
        try:
            good += client.recv(65536) == data
        except OSError:
            pass
print(good)
