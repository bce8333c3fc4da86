# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""http_client.py ADDR PORT COUNT [FIRST_PORT]: GET /name, each on a connection of its own.

Prints JSON: {"failed": n, "errors": [...], "answers": {"backend1": n, ...}}. With FIRST_PORT the
connections come from the ports FIRST_PORT to FIRST_PORT + COUNT - 1, so that each run sends the
same tuples; the ports must lie below the ones that the kernel gives out. The server closes first
(TIME_WAIT is its), so the ports are free again at once.
"""
import collections
import json
import queue
import socket
import sys
import threading

THREADS = 4
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
first_port = int(sys.argv[4]) if len(sys.argv) > 4 else None
request = "GET /name HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n".encode()
family = socket.AF_INET6 if ":" in host else socket.AF_INET
answers = collections.Counter()
errors = []
lock = threading.Lock()
numbers = queue.SimpleQueue()
for number in range(count):
    numbers.put(number)


def get(number):
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        if first_port is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(("", first_port + number))
        connection.connect((host, port))
        connection.sendall(request)
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or not body.startswith(b"backend"):
        raise OSError(f"answer {data[:60]!r}")
    return body.decode().strip()


def work():
    while True:
        try:
            number = numbers.get_nowait()
        except queue.Empty:
            return
        try:
            name = get(number)
            with lock:
                answers[name] += 1
        except OSError as error:
            with lock:
                errors.append(repr(error))


workers = [threading.Thread(target=work) for _ in range(THREADS)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps({"failed": len(errors), "errors": errors[:5], "answers": dict(answers)}))
