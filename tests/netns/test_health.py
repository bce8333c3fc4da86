# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Backends that die, hang, flap and lie: nginx, HAProxy and UDP servers, checked by sluiced."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import topology
from topology import backend4, backend6, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
FAST = {"interval_ms": 1000, "timeout_ms": 500, "fall": 3, "rise": 2, "hold_down_ms": 0}
# With time enough for a machine that is busy.
QUICK = {"interval_ms": 200, "timeout_ms": 200, "fall": 2, "rise": 2, "hold_down_ms": 0}
HTTP = {"type": "http", "path": "/health", **FAST}
# A backend that is found ill has lost its new flows by then, at interval 1 s and fall 3.
LOST_WITHIN_SEC = 3


def three(port, family=4):
    name = backend4 if family == 4 else lambda i: f"[{backend6(i)}]"
    return [(f"{name(i)}:{port}", 1) for i in (1, 2, 3)]


def services():
    at = topology.SERVICE4
    return {
        "web": (f"{at}:80/tcp", three(8080), {}, {"check": HTTP}),
        "web6": (f"[{topology.SERVICE6}]:80/tcp", three(8080, 6), {}, {"check": HTTP}),
        "echo": (f"{at}:53/udp", three(5353), {}, {"check": {"type": "udp", "send": "who is", "expect": "backend", **QUICK}}),
        "silent": (f"{at}:54/udp", [(f"{backend4(i)}:5354", 1) for i in (1, 2)], {},
                   {"check": {"type": "udp", "hold_down_ms": 0, "jitter_percent": 0}}),
        "plain": (f"{at}:81/tcp", three(8080), {}, {"check": {"type": "tcp", "on_down": "keep", **QUICK}}),
        "talk": (f"{at}:82/tcp", three(8080), {},
                 {"check": {"type": "tcp", "send": "GET /name HTTP/1.0\r\n\r\n", "expect": "backend", **QUICK}}),
        "ping": (f"{at}:83/tcp", three(8080), {}, {"check": {"type": "icmp", **QUICK}}),
        "ping6": (f"[{topology.SERVICE6}]:83/tcp", three(8080, 6), {}, {"check": {"type": "icmp", **QUICK}}),
        "program": (f"{at}:84/tcp", three(8080), {}, {"check": {"type": "exec", "command": "", **QUICK}}),
        "proxied": (f"{at}:85/tcp", [(f"{backend4(3)}:8090", 1)], {},
                    {"check": {"type": "http", "path": "/health", "body": "good", "host": "web.example", **QUICK}}),
        "secure": (f"{at}:443/tcp", [(f"{backend4(3)}:8443", 1)], {},
                   {"check": {"type": "https", "path": "/health", "host": "web.example", **QUICK}}),
    }


@pytest.fixture(scope="module")
def net(files):
    net = topology.Topology()
    try:
        net.make()
        net.run_in("lb", "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        net.start_nginx(files[0])
        net.start_echo()
        for i in (1, 2):
            start_echo(net, f"other{i}", i, 5354)
        start_haproxy(net)
        program = os.path.join(net.dir, "check.sh")
        with open(program, "w") as file:
            file.write(f'#!/bin/sh\n[ "$SLUICE_PORT" = 8080 ] && ! [ -e "{net.dir}/ill-$SLUICE_ADDRESS" ]\n')
        os.chmod(program, 0o755)
        chosen = services()
        chosen["program"][3]["check"]["command"] = program
        net.more_config = ["health: {exec: true}"]
        net.write_config(chosen)
        net.start_sluice()
        wait_until("all to be checked and well", 20,
                   lambda: all(b["health"] == "up" for b in net.json("backend", "list")["backends"]))
    except BaseException:
        for name in ("dataplane", "sluiced"):
            if name in net.processes:
                print(f"--- {name}\n{net.log(name)}")
        if "sluiced" in net.processes:
            print(net.sluice("backend", "list", check=False).stdout)
        net.remove()
        raise
    yield net
    net.remove()


def start_haproxy(net):
    """On the third backend: one that is healthy as long as a file says so, with and without TLS."""
    pem = os.path.join(net.dir, "web.pem")
    topology.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                 "/CN=web.example", "-keyout", pem + ".key", "-out", pem + ".crt")
    with open(pem, "w") as file:
        for end in (".crt", ".key"):
            file.write(open(pem + end).read())
    config = os.path.join(net.dir, "haproxy.cfg")
    with open(config, "w") as file:
        file.write(f"""
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend plain
  bind 0.0.0.0:8090
  bind 0.0.0.0:8443 ssl crt {pem}
  http-request return status 400 if !{{ hdr(host) web.example }}
  http-request return status 200 content-type text/plain string "all is good" if {{ path /health }}
  http-request return status 404
""")
    net.start("haproxy", "b3", "haproxy", "-db", "-f", config)


def backend_of(net, service, i):
    address = (f"[{backend6(i)}]" if service.endswith("6") else backend4(i)) + ":"
    return next(b for b in net.json("backend", "list", service)["backends"] if b["address"].startswith(address))


def wait_health(net, service, i, word, seconds=20):
    return wait_until(lambda: f"{service} of backend {i} to be {word}: {backend_of(net, service, i)}", seconds,
                      lambda: (b := backend_of(net, service, i))["health"] == word and (word != "down" or is_told(b)) and b)


def is_told(backend):
    """Whether the dataplane knows, too, that a backend is down."""
    return backend["share"] == 0 or backend["check"]["panic"]


def ill_file(net, i):
    return os.path.join(net.dir, f"nginx{i}", "ill")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


class Dead:
    """Killed, and so refusing connections."""

    words = "Connection refused"
    told = ["ConnectionResetError", "RemoteDisconnected"]  # the latter by its own kernel

    def __init__(self, net, i):
        net.stop(f"nginx{i}", signal.SIGKILL)
        # A master that is killed leaves its worker.
        net.run_in(f"b{i}", "sh", "-c", "ss -Hltnp sport = 8080 | grep -o 'pid=[0-9]*' | cut -d= -f2 | xargs -r kill -9")

    @staticmethod
    def mend(net, i, root):
        net.start_one_nginx(i, root)


class Hanging:
    """Stopped: the kernel accepts its connections, and nobody answers."""

    words = "no answer within"
    told = ["ConnectionResetError"]

    def __init__(self, net, i):
        self.pids = [net.processes[f"nginx{i}"].pid, *children(net.processes[f"nginx{i}"].pid)]
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def mend(self, net, i, root):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


class Lying:
    """It answers all the same, with 500 to its check."""

    words = "status 500"
    told = ["ConnectionResetError"]

    def __init__(self, net, i):
        open(ill_file(net, i), "w").close()

    @staticmethod
    def mend(net, i, root):
        os.unlink(ill_file(net, i))


SESSION = (
    "import http.client,sys\n"
    "c=http.client.HTTPConnection(sys.argv[1],80,timeout=10)\n"
    "for line in sys.stdin:\n"
    " try:\n"
    "  c.request('GET','/name'); print(c.getresponse().read().decode().strip(), flush=True)\n"
    " except Exception as error: print(type(error).__name__, flush=True)\n")


class Sessions:
    """Connections that stay, at least two to each backend."""

    def __init__(self, net, address):
        self.open = []
        while min([sum(name == f"backend{i}" for _, name in self.open) for i in (1, 2, 3)]) < 2:
            assert len(self.open) < 200
            process = subprocess.Popen(net.in_ns("client", sys.executable, "-c", SESSION, address), text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.open.append((process, self.ask(process)))

    @staticmethod
    def ask(process):
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def close(self):
        for process, _ in self.open:
            process.stdin.close()
            process.wait(15)


def answers(net, address, count=60):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), address, "80", str(count))
    result = json.loads(done.stdout)
    assert result["failed"] == 0, result
    return result["answers"]


def check_told(sessions, how):
    """The client of the second backend is told at once, and not left to wait; nobody else moves."""
    for process, name in sessions.open:
        said = sessions.ask(process)
        assert said in ([name] if name != "backend2" else how.told), (name, said)


@pytest.mark.parametrize("how", [Dead, Hanging, Lying])
def test_an_ill_backend_loses_new_flows_and_no_other_moves(net, files, how):
    of_service = {"web": topology.SERVICE4, "web6": topology.SERVICE6}
    sessions = {service: Sessions(net, address) for service, address in of_service.items()}
    start = time.monotonic()
    illness = how(net, 2)
    try:
        for service in of_service:
            backend = wait_health(net, service, 2, "down")
            took = time.monotonic() - start
            print(f"{how.__name__}: down after {took:.2f} s")
            assert took < LOST_WITHIN_SEC
            assert how.words in backend["check"]["reason"], backend
            assert backend["share"] == 0 and backend["check"]["failed"] >= 3
        for service, address in of_service.items():
            assert "backend2" not in answers(net, address)
            check_told(sessions[service], how)
            for i in (1, 3):
                wait_health(net, service, i, "up")
    finally:
        for opened in sessions.values():
            opened.close()
        illness.mend(net, 2, files[0])
    for service in (*of_service, "plain", "talk"):
        wait_health(net, service, 2, "up")
    for address in of_service.values():
        assert answers(net, address)["backend2"] > 0


def start_echo(net, name, i, port):
    net.start(name, f"b{i}", sys.executable, os.path.join(HERE, "udp_echo.py"), str(port), str(i))


@pytest.mark.parametrize("service, name, port", [("silent", "other1", 5354), ("echo", "echo1", 5353)])
def test_a_udp_server_that_is_gone_is_down_and_comes_back(net, service, name, port):
    net.stop(name, signal.SIGKILL)
    backend = wait_health(net, service, 1, "down")
    assert service == "echo" or "Connection refused" in backend["check"]["reason"], backend
    start_echo(net, name, 1, port)
    wait_health(net, service, 1, "up")


def test_every_type_sees_what_it_is_to_see(net):
    # Unplugged: nobody answers, whatever the type.
    net.ip("net", "link", "set", "b1", "down")
    try:
        for service in ("plain", "talk", "ping", "ping6", "echo"):
            wait_health(net, service, 1, "down")
    finally:
        net.ip("net", "link", "set", "b1", "up")
    for service in ("plain", "talk", "ping", "ping6", "echo", "web", "web6", "silent"):
        wait_health(net, service, 1, "up")
    # A program that says no.
    ill = os.path.join(net.dir, f"ill-{backend4(2)}")
    open(ill, "w").close()
    assert "exit status 1" in wait_health(net, "program", 2, "down")["check"]["reason"]
    os.unlink(ill)
    wait_health(net, "program", 2, "up")
    wait_health(net, "program", 1, "up")


def change(net, service, **members):
    """Through the configuration file, whose service it is."""
    net.services[service][3]["check"].update(members)
    net.write_config(net.services)
    net.sluice("apply", net.config)


def test_an_answer_is_held_against_what_is_expected(net):
    assert not wait_health(net, "proxied", 3, "up")["check"]["panic"]
    for members, words in (({"body": "bad"}, "without what is expected"), ({"body": "good", "path": "/other"}, "status 404"),
                           ({"path": "/health", "host": "another.example"}, "status 400")):
        change(net, "proxied", **members)
        # Nobody else is there: it is used all the same.
        backend = wait_until(words, 20, lambda words=words: words in (b := backend_of(net, "proxied", 3))["check"]["reason"] and
                             b["health"] == "down" and is_told(b) and b)
        assert backend["check"]["panic"] and backend["share"] == 1, backend
    change(net, "proxied", host="web.example", statuses="200")
    wait_health(net, "proxied", 3, "up")
    # The certificate is nobody's that we know.
    change(net, "secure", tls_verify=True)
    assert "certificate" in wait_health(net, "secure", 3, "down")["check"]["reason"]
    change(net, "secure", tls_verify=False)
    wait_health(net, "secure", 3, "up")


def test_when_all_are_down_all_are_used_unless_panic_percent_is_0(net, files):
    for i in (1, 2, 3):
        open(ill_file(net, i), "w").close()
    try:
        for i in (1, 2, 3):
            wait_health(net, "web", i, "down")
        wait_until("all to be used", 5, lambda: all(backend_of(net, "web", i)["check"]["panic"] for i in (1, 2, 3)))
        assert len(answers(net, topology.SERVICE4)) == 3
        assert net.status()["health"]["panics"] >= 1
        change(net, "web", panic_percent=0)
        net.wait_in_step()
        assert all(b["share"] == 0 for b in net.json("backend", "list", "web")["backends"])
        done = net.run_in("client", "curl", "-s", "--max-time", "2", f"http://{topology.SERVICE4}/name", check=False)
        assert done.returncode != 0
    finally:
        change(net, "web", panic_percent=1)
        for i in (1, 2, 3):
            os.unlink(ill_file(net, i))
    for i in (1, 2, 3):
        wait_health(net, "web", i, "up")
        wait_health(net, "web6", i, "up")


def is_up_or_blind(net, service, i):
    """Whether nothing is said against a backend, of which DPDK's checks hear nothing without a dataplane, and XDP's do."""
    backend = backend_of(net, service, i)
    if backend["check"]["reason"]:
        return backend["health"] == "unknown" and backend["check"]["reason"].startswith("without a dataplane: ")
    return backend["health"] == "up"


def test_what_was_known_outlives_both_programs(net):
    """Neither a daemon that is killed nor a dataplane that starts anew brings a dead backend back."""
    open(ill_file(net, 3), "w").close()
    try:
        wait_health(net, "web", 3, "down")
        generation = net.status()["dataplane_generation"]
        net.stop("sluiced", signal.SIGKILL)
        net.start_daemon()
        net.wait_in_step()
        backend = backend_of(net, "web", 3)
        assert backend["health"] == "down" and backend["share"] == 0, backend
        assert "backend3" not in answers(net, topology.SERVICE4)
        assert net.status()["dataplane_generation"] == generation, "nothing was pushed"
        net.stop("dataplane", signal.SIGKILL)
        checks = [backend_of(net, "web", i)["check"]["checks"] for i in (1, 2)]
        wait_until("checks without a dataplane", 20, lambda: all(
            backend_of(net, "web", i)["check"]["checks"] > n + 5 for i, n in zip((1, 2), checks)))
        assert all(is_up_or_blind(net, "web", i) for i in (1, 2)), "nobody is blamed for it"
        assert backend_of(net, "web", 3)["health"] == "down"
        status, n_blind = net.sluice("status").stdout, net.status()["health"]["blind"]
        assert re.search(r"(?m)^dataplane +not answering for \d+ s", status), status
        assert bool(re.search(r"; health of \d+ backends unknown: ", status)) == (n_blind > 1), status
        net.start_dataplane()
        net.wait_in_step()
        assert backend_of(net, "web", 3)["share"] == 0
        assert "backend3" not in answers(net, topology.SERVICE4)
    finally:
        os.unlink(ill_file(net, 3))
    wait_health(net, "web", 3, "up")


def test_keep_leaves_the_flows_where_they_are(net):
    change(net, "web", on_down="keep")
    sessions = Sessions(net, topology.SERVICE4)
    open(ill_file(net, 1), "w").close()
    try:
        wait_health(net, "web", 1, "down")
        assert "backend1" not in answers(net, topology.SERVICE4)
        assert all(sessions.ask(process) == name for process, name in sessions.open)
    finally:
        sessions.close()
        os.unlink(ill_file(net, 1))
        change(net, "web", on_down="reset")
    wait_health(net, "web", 1, "up")


def test_a_backend_that_came_up_gets_its_share_by_and_by(net):
    change(net, "web", slow_start_ms=4000, **QUICK)
    open(ill_file(net, 1), "w").close()
    wait_health(net, "web", 1, "down")
    os.unlink(ill_file(net, 1))
    wait_health(net, "web", 1, "up")
    shares = []
    wait_until(lambda: f"its whole share: {shares}", 20,
               lambda: shares.append(backend_of(net, "web", 1)["share"]) or shares[-1] > 0.33)
    assert shares[0] < 0.2 and shares == sorted(shares) and len(set(shares)) > 5, shares
    change(net, "web", slow_start_ms=0, **FAST)


def test_maintenance_and_deletion_end_the_checks(net):
    net.sluice("service", "add", "more", f"{topology.SERVICE4}:90/tcp", "check", "type", "tcp", "check", "interval_ms", "50")
    for i in (1, 2):
        net.sluice("backend", "add", "more", f"{backend4(i)}:8080")
    wait_health(net, "more", 2, "up")
    net.sluice("backend", "set", "more", f"{backend4(2)}:8080", "state", "maint")
    assert backend_of(net, "more", 2)["health"] == "unchecked"
    refused = net.sluice("backend", "wait", "more", f"{backend4(2)}:8080", "state", "up", check=False)
    assert refused.returncode == 1 and "nobody checks it" in refused.stderr, refused
    net.sluice("backend", "set", "more", f"{backend4(2)}:8080", "state", "ready")
    wait_health(net, "more", 2, "up")
    # One that never answered is down after one check.
    net.sluice("backend", "add", "more", f"{backend4(3)}:9")
    assert "down" in net.sluice("backend", "wait", "more", f"{backend4(3)}:9", "state", "down", "timeout", "20").stdout
    assert wait_health(net, "more", 3, "down")["check"]["checks"] >= 1
    text = net.sluice("service", "show", "more").stdout
    assert "check" in text and "Connection refused" in text and "ok in" in text, text
    n = net.status()["health"]["backends"]
    net.sluice("service", "delete", "more")
    assert net.status()["health"]["backends"] == n - 3


def test_a_flapping_backend_is_held_down_and_moves_nobody_else(net):
    """Ill and well in turns, 10 times a second: the dataplane hears of it ever more rarely."""
    change(net, "web", interval_ms=50, timeout_ms=50, rise=1, fall=1, hold_down_ms=500)
    wait_health(net, "web", 1, "up")
    sessions = Sessions(net, topology.SERVICE4)
    said, ill = f"service web: backend {backend4(1)}:8080: down", ill_file(net, 1)
    before = net.log("sluiced").count(said)
    try:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            open(ill, "w").close()
            time.sleep(0.05)
            os.unlink(ill)
            time.sleep(0.05)
        # Down at 0, 0.5, 1.5, 3.5 and 7.5 s: without the hold-down it would be some fifty times.
        assert 2 <= net.log("sluiced").count(said) - before <= 5
        held = wait_health(net, "web", 1, "down")["check"]["held_seconds"]
        assert 0 < held <= 0.5 * 64
        assert all(sessions.ask(process) == name for process, name in sessions.open if name != "backend1")
    finally:
        sessions.close()
    change(net, "web", **FAST)
