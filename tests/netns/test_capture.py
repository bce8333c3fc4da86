# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""sluice capture: what it takes, what it says of each packet, and that whoever is slow or gone harms nobody."""
import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

import topology
from pcapng import Capture

CLIENT_PORT, BACKEND_PORT = "eth1", "eth2"
IDLE_SECONDS = 10
FLOOD = ("import socket,sys\n"
         "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',{port}))\n"
         "for _ in range({n}): s.sendto(b'x'*1400, ('{address}', 53))\n")


class Running:
    """A capture that has begun, into a file of its own."""

    numbers = iter(range(1000))

    def __init__(self, net, *words, to=None):
        self.path = to or os.path.join(net.dir, f"{next(self.numbers)}.pcapng")
        self.process = subprocess.Popen(
            [os.path.join(topology.BUILD, "sluice"), "-s", os.path.join(net.run_dir, "control.sock"), "-j", "capture", *words, "to", self.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not to:
            topology.wait_until("the file's head", 10, lambda: self.process.poll() is not None or (
                os.path.exists(self.path) and os.path.getsize(self.path) > 0))

    def end(self, how=signal.SIGINT):
        """Result and capture, after ^C; None: it ends by itself."""
        if how:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, err
        result, capture = json.loads(out), Capture(self.path)
        assert f"{result['packets']} packets captured" in err
        assert result["file"] == self.path and result["packets"] == len(capture.packets)
        assert sum(dropped for _, dropped in capture.statistics.values()) == result["lost"]
        assert sum(received for received, _ in capture.statistics.values()) == result["packets"] + result["lost"]
        assert list(capture.statistics) == list(capture.interfaces) == [CLIENT_PORT, BACKEND_PORT]
        return result, capture


def get(net, port, url=None):
    return net.run_in("client", "curl", "-sf", "--local-port", str(port), url or f"http://{topology.SERVICE4}/name").stdout


def ends(packet):
    layer = Ether(packet.data)
    ip = layer[IPv6] if IPv6 in layer else layer[IP]
    l4 = layer[TCP] if TCP in layer else layer[UDP]
    return ip.src, l4.sport, ip.dst, l4.dport


@pytest.mark.parametrize("family", (4, 6))
def test_a_connection_as_it_comes_and_as_it_goes(net, family):
    client, service = ((topology.CLIENT4, topology.SERVICE4), (topology.CLIENT6, topology.SERVICE6))[family == 6]
    name, where = ("web", service) if family == 4 else ("web6", f"[{service}]")
    port = 42000 + family * 10
    end = f"{client}:{port}" if family == 4 else f"[{client}]:{port}"
    begin = time.time_ns()
    running = Running(net, "service", name, "client", end)
    number = int(get(net, port, f"http://{where}/name").removeprefix("backend"))
    get(net, port + 1, f"http://{where}/name")
    result, capture = running.end()
    backend = (topology.backend4 if family == 4 else topology.backend6)(number)
    told = f"{backend}:8080" if family == 4 else f"[{backend}]:8080"
    assert stat.S_IMODE(os.stat(running.path).st_mode) == 0o600
    assert result["lost"] == 0 and capture.program == f"sluice-{topology.ENGINE}"
    assert set(capture.interfaces.values()) == {256}
    forms = {("in", CLIENT_PORT): (client, port, service, 80), ("out", BACKEND_PORT): (client, port, backend, 8080),
             ("in", BACKEND_PORT): (backend, 8080, client, port), ("out", CLIENT_PORT): (service, 80, client, port)}
    counts = dict.fromkeys(forms, 0)
    for packet in capture.packets:
        form = packet.direction, packet.interface
        counts[form] += 1
        assert ends(packet) == forms[form]
        is_forward = form in (("in", CLIENT_PORT), ("out", BACKEND_PORT))
        assert packet.verdict == ("forward" if is_forward else "reply")
        assert (packet.service, packet.backend) == (name, told)
        assert begin < packet.time_ns < time.time_ns()
    assert counts["in", CLIENT_PORT] == counts["out", BACKEND_PORT] >= 4
    assert counts["in", BACKEND_PORT] == counts["out", CLIENT_PORT] >= 3
    assert [p.time_ns for p in capture.packets] == sorted(p.time_ns for p in capture.packets)
    assert sum(b"GET /name" in packet.data for packet in capture.packets) == 2


def test_tshark_reads_it(net):
    running = Running(net, "service", "web")
    get(net, 42110)
    result, _ = running.end()
    lines = topology.run("tshark", "-r", running.path, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction",
                         "-e", "frame.comment", "-e", "tcp.dstport").stdout.splitlines()
    assert len(lines) == result["packets"]
    name, direction, comment, port = lines[0].split("\t")
    assert (name, int(direction, 0), port) == (CLIENT_PORT, 1, "80") and comment.startswith("forward service web backend 10.")


def test_a_dropped_packet_and_its_answer(net):
    net.sluice("service", "add", "empty", "203.0.113.77:80/tcp")
    running = Running(net, "verdict", "drop_no_backend")
    before = net.counters()["verdicts"]["drop_no_backend"]
    get(net, 42120)
    net.run_in("client", "curl", "-s", "--max-time", "0.5", "http://203.0.113.77/", check=False)
    topology.wait_until("the drop", 5, lambda: net.counters()["verdicts"]["drop_no_backend"] > before)
    _, capture = running.end()
    assert {(p.verdict, p.service, p.backend, p.interface) for p in capture.packets} == {("drop_no_backend", "empty", None, CLIENT_PORT)}
    came = [ends(p) for p in capture.packets if p.direction == "in"]
    assert came and all(end[2:] == ("203.0.113.77", 80) for end in came)
    assert all(ends(p)[:2] == ("203.0.113.77", 80) for p in capture.packets if p.direction == "out")
    net.sluice("service", "delete", "empty")


def test_where_one_looks_and_how_much(net):
    running = Running(net, "port", BACKEND_PORT, "direction", "out", "backend", f"{topology.backend4(1)}:8080", "snaplen", "64")
    while get(net, 0) != "backend1\n":
        pass
    _, capture = running.end()
    assert {(p.direction, p.interface, p.verdict) for p in capture.packets} == {("out", BACKEND_PORT, "forward")}
    assert all(ends(p)[2:] == (topology.backend4(1), 8080) for p in capture.packets)
    assert all(len(p.data) == min(p.length, 64) for p in capture.packets) and max(p.length for p in capture.packets) > 64


def test_what_is_no_services(net):
    running = Running(net, "verdict", "punt_icmp")
    net.run_in("client", "ping", "-c", "2", "-i", "0.2", topology.OWN4)
    _, capture = running.end()
    # With DPDK on a kernel interface such frames never come to Sluice.
    assert len(capture.packets) >= (2 if topology.ENGINE == "xdp" else 0)
    assert all((p.direction, p.service) == ("in", None) for p in capture.packets)


def test_so_many_and_so_long(net):
    running = Running(net, "service", "web", "count", "5")
    for port in range(42130, 42133):
        get(net, port)
    result, _ = running.end(None)
    assert result["packets"] == 5
    begin = time.monotonic()
    Running(net, "service", "web", "seconds", "1").end(None)
    assert 1 <= time.monotonic() - begin < 8


def test_a_file_that_is_there_is_replaced_and_closed_to_others(net):
    path = os.path.join(net.dir, "old.pcapng")
    with open(path, "w") as file:
        file.write("x" * 100000)
    os.chmod(path, 0o644)
    assert net.sluice("capture", "service", "nobodys", "to", path, check=False).returncode == 1
    assert os.path.getsize(path) == 100000
    net.sluice("capture", "seconds", "1", "to", path)
    Capture(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_into_a_program(net):
    done = topology.run("sh", "-c", f"{topology.BUILD}/sluice -s {net.run_dir}/control.sock capture seconds 1 | head -c 4 | od -An -tx1; echo ended")
    assert done.stdout.startswith(" 0a 0d 0d 0a") and done.stdout.endswith("ended\n")


def test_a_slow_reader_loses_packets_and_is_told(net):
    running = Running(net, "service", "echo", "snaplen", "4096")
    running.process.send_signal(signal.SIGSTOP)
    before = net.counters()["verdicts"]["forward"]
    # A driver's ring may lose some of a burst.
    while net.counters()["verdicts"]["forward"] - before < 4000:
        net.run_in("client", sys.executable, "-c", FLOOD.format(port=42140, n=2000, address=topology.SERVICE4))
    running.process.send_signal(signal.SIGCONT)
    get(net, 42141)
    result, _ = running.end()
    assert result["lost"] > 0 and result["packets"] > 100
    net.check_invariants()


def test_one_at_a_time_and_one_that_is_killed_leaves_nothing(net):
    running = Running(net)
    done = net.sluice("capture", "to", os.devnull, check=False)
    assert done.returncode == 1 and "another one is under way (limit 1)" in done.stderr
    running.process.kill()
    running.process.communicate()
    get(net, 42150)
    topology.wait_until("the capture to end", IDLE_SECONDS + 5, lambda: "nobody has read it for 10 s" in net.log("dataplane"))
    get(net, 42151)
    net.sluice("capture", "count", "1", "seconds", "1", "to", os.devnull)


def test_a_full_disk_ends_it(net):
    running = Running(net, to="/dev/full")
    _, err = running.process.communicate(timeout=10)
    assert running.process.returncode == 1 and "/dev/full: No space left on device" in err
    net.sluice("capture", "seconds", "1", "to", os.devnull)


def test_a_daemon_that_dies_ends_it(net):
    running = Running(net, "service", "web")
    get(net, 42160)
    topology.wait_until("packets", 5, lambda: len(Capture(running.path).packets) >= 10)
    net.stop("sluiced", signal.SIGKILL)
    _, err = running.process.communicate(timeout=10)
    assert running.process.returncode == 3, err
    assert Capture(running.path).packets
    net.start_daemon()
    net.wait_in_step()
    net.sluice("capture", "seconds", "1", "to", os.devnull)
