# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""proxy_client.py HOST PORT COUNT SIZE: of proxy_server.py. Opens COUNT connections, eight at a
time; each waits for the server's word, sends SIZE bytes and fetches SIZE bytes. Prints as JSON how many were
right, and the largest segment that the server may send."""
import concurrent.futures
import hashlib
import json
import os
import socket
import sys

host, port, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
result = {"right": 0, "wrong": [], "segment": 0}


def once():
    with socket.create_connection((host, port), timeout=60) as client, client.makefile("rb") as file:
        said = file.readline().split()
        address, own_port = client.getsockname()[:2]
        if said[:4] != [str(word).encode() for word in (address, own_port, host, port)]:
            return f"server speaks of {said}"
        result["segment"] = int(said[4])
        data = os.urandom(size)
        client.sendall(f"put {size}\n".encode() + data)
        if file.readline().strip().decode() != hashlib.sha256(data).hexdigest():
            return "what was sent arrived otherwise"
        client.sendall(f"get {size}\n".encode())
        data = file.read(size)
        if file.readline().strip().decode() != hashlib.sha256(data).hexdigest():
            return "what was fetched arrived otherwise"
    return None


def try_once(_):
    try:
        return once()
    except OSError as error:
        return str(error)


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for wrong in pool.map(try_once, range(count)):
        if wrong is None:
            result["right"] += 1
        else:
            result["wrong"].append(wrong)
print(json.dumps(result))
