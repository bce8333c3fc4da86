# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Flows to both service addresses that are used all the time."""
import json
import os
import subprocess
import sys

import topology

HERE = os.path.dirname(os.path.abspath(__file__))


class Keeper:
    """The client's flow_keeper.py."""

    def __init__(self, net):
        self.net = net
        self.process = subprocess.Popen(
            net.in_ns("client", sys.executable, os.path.join(HERE, "flow_keeper.py"), "80", "53",
                      topology.SERVICE4, topology.SERVICE6),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rounds(self, n):
        """After `n` rounds more."""
        end = self.tell("go")["rounds"] + n
        while True:
            result = self.tell("go")
            if result["rounds"] >= end:
                return result

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
