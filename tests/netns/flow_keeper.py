# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""flow_keeper.py TCP_PORT UDP_PORT ADDR...: keeps flows to all ADDRs, and asks over each, again and again,
which backend it has. Lines of the standard input: "open TCP UDP" opens so many flows more to each ADDR,
"close N" ends the oldest N of them. Each line is answered, after a round over all flows, by one of JSON:
"flows" open, "rounds" so far, and, of all rounds, flows "lost", and how often one "moved" to another
backend."""
import json
import select
import socket
import sys

PATIENCE = 10  # seconds that a connection may be without an answer
AGAIN = 0.5  # after which a datagram is sent again: it is allowed to get lost
tcp_port, udp_port, *addresses = sys.argv[1:]
flows = []
backends = {}
ends = {}
result = {"flows": 0, "rounds": 0, "lost": 0, "moved": 0, "why": []}


def lost(flow, why):
    result["lost"] += 1
    result["why"] = [*result["why"][:9], f"{ends[flow]}: {why}"]  # one that was reset has no ends any more
    flows.remove(flow)
    flow.close()


def open_one(kind, address, port):
    flow = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    flow.settimeout(PATIENCE)
    flow.connect((address, int(port)))
    flow.setblocking(False)
    ends[flow] = f"{flow.getpeername()} from {flow.getsockname()}"
    flows.append(flow)


def open_more(n_tcp, n_udp):
    for address in addresses:
        for _ in range(n_tcp):
            open_one(socket.SOCK_STREAM, address, tcp_port)
        for _ in range(n_udp):
            open_one(socket.SOCK_DGRAM, address, udp_port)


def ask(flow):
    if flow.type == socket.SOCK_DGRAM:
        flow.send(b"who x")
    else:
        flow.send(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n")


def is_answered(flow, text):
    """Whether `text` is whole; counts the flow if another backend says it."""
    name = text.split()[0] if flow.type == socket.SOCK_DGRAM else text.partition(b"\r\n\r\n")[2]
    if flow.type == socket.SOCK_STREAM and not name.endswith(b"\n"):
        return False
    result["moved"] += backends.get(flow, name.strip()) != name.strip()
    backends[flow] = name.strip()
    return True


def round_over_all():
    texts = {}
    poll = select.poll()
    by_number = {}
    for flow in list(flows):
        try:
            ask(flow)
        except OSError as error:
            lost(flow, error)
            continue
        texts[flow] = b""
        by_number[flow.fileno()] = flow
        poll.register(flow, select.POLLIN)
    silent = 0
    while texts:
        ready = poll.poll(AGAIN * 1000)
        silent = 0 if ready else silent + AGAIN
        for number, _ in ready:
            flow = by_number[number]
            try:
                data = flow.recv(4096)
            except OSError as error:
                data, why = b"", error
            else:
                why = "ended"
            texts[flow] += data
            if not data or is_answered(flow, texts[flow]):
                poll.unregister(flow)
                del texts[flow]
            if not data:
                lost(flow, why)
        for flow in list(texts):
            if silent >= PATIENCE:
                poll.unregister(flow)
                lost(flow, "silent")
                del texts[flow]
            elif silent and flow.type == socket.SOCK_DGRAM:
                ask(flow)
    # Second answers of datagrams that were sent again.
    for flow in flows:
        try:
            while flow.type == socket.SOCK_DGRAM and flow.recv(100):
                pass
        except BlockingIOError:
            pass
    result["rounds"] += 1


while True:
    if select.select([sys.stdin], [], [], 0)[0]:
        command, *numbers = (sys.stdin.readline() or "end").split()
        if command == "end":
            break
        if command == "open":
            open_more(*map(int, numbers))
        elif command == "close":
            for closing in flows[:int(numbers[0])]:
                closing.close()
            del flows[:int(numbers[0])]
        round_over_all()
        result["flows"] = len(flows)
        print(json.dumps(result), flush=True)
    else:
        round_over_all()
