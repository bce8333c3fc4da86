# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""udp_echo.py PORT NUMBER: sends every datagram back, whatever its size, over IPv4 and IPv6. In one that
begins with "who ", the word becomes the backend's name."""
import os
import socket
import sys

# As fragment_client.py: what is sent in fragments is to leave in its order.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
server.bind(("::", int(sys.argv[1])))
while True:
    data, peer = server.recvfrom(65536)
    if data.startswith(b"who "):
        data = b"backend" + sys.argv[2].encode() + data[3:]
    server.sendto(data, peer)
