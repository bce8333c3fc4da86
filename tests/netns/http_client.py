# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""http_client.py ADDR PORT COUNT [THREADS] [SECONDS]: GET /name, each on a connection of its own.

Prints JSON: {"failed": n, "errors": [...], "answers": {"backend1": n, ...}}. With SECONDS it goes on
for so long, whatever COUNT says.
"""
import collections
import json
import socket
import sys
import threading
import time

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
threads = int(sys.argv[4]) if len(sys.argv) > 4 else 4
seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 0
request = "GET /name HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n".encode()
answers = collections.Counter()
errors = []
lock = threading.Lock()
end = time.monotonic() + seconds


def get():
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(request)
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or not body.startswith(b"backend"):
        raise OSError(f"answer {data[:60]!r}")
    return body.decode().strip()


def work(n):
    done = 0
    while done < n or (seconds and time.monotonic() < end):
        done += 1
        try:
            name = get()
            with lock:
                answers[name] += 1
        except OSError as error:
            with lock:
                errors.append(repr(error))


workers = [threading.Thread(target=work, args=(0 if seconds else count // threads,)) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps({"failed": len(errors), "errors": errors[:5], "answers": dict(answers)}))
