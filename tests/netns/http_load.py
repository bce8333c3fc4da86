# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""http_load.py ADDR: GET /name on new connections, two threads, until a line comes on standard
input. Prints JSON: {"done": n, "failed": n, "errors": [...]}."""
import json
import socket
import sys
import threading

host = sys.argv[1]
stop = threading.Event()
result = {"done": 0, "failed": 0, "errors": []}
lock = threading.Lock()


def work():
    while not stop.is_set():
        try:
            with socket.create_connection((host, 80), timeout=15) as connection:
                connection.sendall(b"GET /name HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            if b"backend" not in data:
                raise OSError(f"answer {data[:60]!r}")
            with lock:
                result["done"] += 1
        except OSError as error:
            with lock:
                result["failed"] += 1
                result["errors"] = result["errors"][:5] + [repr(error)]
        stop.wait(0.005)


threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
print(json.dumps(result))
