# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""udp_stream.py ADDR PORT RATE FLOWS: numbered datagrams, RATE a second, over FLOWS sockets in turn,
until a line is read. Each is to come back with the name of its backend. Prints JSON: how many were
"sent", which were "lost" (their numbers), and how many were "strayed": answered by another backend
than the flow's first. One that comes twice counts as "twice"."""
import json
import select
import socket
import sys
import threading
import time

host, port, rate, n_flows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
poll = select.poll()
flows = {}
for _ in range(n_flows):
    flow = socket.socket(family, socket.SOCK_DGRAM)
    flow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    flow.setblocking(False)
    flow.connect((host, port))
    flows[flow.fileno()] = flow
    poll.register(flow, select.POLLIN)
backends = {}
answered = set()
result = {"sent": 0, "strayed": 0, "twice": 0}
done = threading.Event()


def receive():
    while not done.is_set():
        for number, _ in poll.poll(50):
            try:
                while True:
                    name, count = flows[number].recv(100).split()
                    result["strayed"] += backends.setdefault(number, name) != name
                    result["twice"] += int(count) in answered
                    answered.add(int(count))
            except BlockingIOError:
                pass


receiver = threading.Thread(target=receive)
receiver.start()
order = list(flows.values())
due = time.monotonic()
while not select.select([sys.stdin], [], [], 0)[0]:
    order[result["sent"] % n_flows].send(b"who %d" % result["sent"])
    result["sent"] += 1
    # Late is late: a burst to catch up might be more than a ring holds.
    due = max(due + 1 / rate, time.monotonic())
    time.sleep(max(0, due - time.monotonic()))
end = time.monotonic() + 5
while len(answered) < result["sent"] and time.monotonic() < end:
    time.sleep(0.05)
done.set()
receiver.join()
result["lost"] = sorted(set(range(result["sent"])) - answered)
result["backends"] = len(set(backends.values()))
print(json.dumps(result))
