# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Connections of the client that stay open, each of which can say which backend it has."""
import json
import subprocess
import sys

import topology

N_HELD = 20

# Bound before they connect, so that no two have one port: of two services with one backend that would be one too many (drop_tuple_taken).
HOLDER = (
    "import http.client,json,sys\n"
    "held=[http.client.HTTPConnection(sys.argv[1],int(sys.argv[2]),timeout=10,source_address=(sys.argv[4],0)) for _ in range(int(sys.argv[3]))]\n"
    "def ask(c):\n"
    " try:\n"
    "  c.request('GET','/name'); return int(c.getresponse().read().decode().strip()[7:])\n"
    " except Exception as error: return type(error).__name__\n"
    "for c in held: c.connect(); c.auto_open=0\n"
    "for line in sys.stdin: print(json.dumps([ask(c) for c in held]), flush=True)\n")


class Held:
    """Connections that stay open, of the client's address or another of it."""

    def __init__(self, net, port, count=N_HELD, source=""):
        self.process = subprocess.Popen(net.in_ns("client", sys.executable, "-c", HOLDER, topology.SERVICE4, str(port), str(count), source),
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.began = self.ask()

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(15)
