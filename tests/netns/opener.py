# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""opener.py ADDR PORT THREADS PATIENCE: opens connections all the time, and ends each at once by a reset.

A line on its standard input is answered by JSON, what it has seen: {"open": n, "refused": n, "silent": n}. Ends
with the input.
"""
import collections
import json
import socket
import struct
import sys
import threading
import time

host, port, n_threads, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
PAUSE_SEC = 0.03
seen = collections.Counter(open=0, refused=0, silent=0)
lock = threading.Lock()


def open_one():
    try:
        with socket.create_connection((host, port), patience) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "open"
    except ConnectionError:
        return "refused"
    except TimeoutError:
        return "silent"


def work():
    while True:
        word = open_one()
        with lock:
            seen[word] += 1
        time.sleep(PAUSE_SEC)


for _ in range(n_threads):
    threading.Thread(target=work, daemon=True).start()
for line in sys.stdin:
    with lock:
        print(json.dumps(seen), flush=True)
