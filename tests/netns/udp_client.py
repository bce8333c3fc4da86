# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""udp_client.py ADDR PORT COUNT: sends datagrams of many sizes from many source ports, one at a
time, and counts those that come back unchanged. Prints "GOOD COUNT"."""
import os
import socket
import sys

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
limit = 1472 if family == socket.AF_INET else 1452
sizes = [0, 1, 17, 512, limit]
good = 0
for i in range(count // 20):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((host, port))
        for j in range(20):
            data = os.urandom(sizes[(i + j) % len(sizes)])
            try:
                client.send(data)
                good += client.recv(65536) == data
            except OSError:
                pass
print(good, count)
