# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Mode snat: the hosts behind the balancer reach the outside from a pool, and are backends all the while.
Requirements are those of RFC 4787 (UDP), 5382 (TCP) and 5508 (ICMP)."""
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

import topology

HERE = os.path.dirname(os.path.abspath(__file__))
INSIDE = {4: "10.90.2.0/24", 6: "2001:db8:2::/64"}
POOL = {4: ["203.0.113.200", "203.0.113.201"], 6: ["2001:db8:100::200", "2001:db8:100::201"]}
SMALL = {4: "203.0.113.202", 6: "2001:db8:100::202"}
OUTSIDE = {4: [topology.CLIENT4, "10.90.1.3", "10.90.1.4"], 6: [topology.CLIENT6, "2001:db8:1::3", "2001:db8:1::4"]}
HOST = {4: topology.backend4, 6: topology.backend6}
FAMILIES = pytest.mark.parametrize("family", (4, 6))


class Endpoint:
    """endpoint.py in a namespace."""

    def __init__(self, net, namespace, addr, port=0):
        words = net.in_ns(namespace, sys.executable, os.path.join(HERE, "endpoint.py"))
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.addr, self.port = self.ask("bind", addr, port)

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def send(self, addr, port, text="x"):
        return self.ask("send", addr, port, text)

    def receive(self):
        return self.ask("receive")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def url(addr, port, path):
    return f"http://{f'[{addr}]' if ':' in addr else addr}:{port}/{path}"


@pytest.fixture(scope="module", autouse=True)
def egress(net, files):
    """The services, and nginx outside."""
    for family in (4, 6):
        for addr in OUTSIDE[family][1:]:
            net.add_addresses("client", "eth0", f"{addr}/{24 if family == 4 else 64}")
            # With XDP the packet that asks for a link address is lost.
            topology.wait_until("a neighbour", 10, lambda addr=addr: net.run_in(
                "lb", "ping", "-c", "1", "-W", "1", addr, check=False).returncode == 0)
        net.sluice("service", "add", f"office{family}", INSIDE[family], "source", POOL[family][0], "source", POOL[family][1])
    home = os.path.join(net.dir, "outside")
    os.makedirs(home)
    with open(os.path.join(home, "nginx.conf"), "w") as file:
        file.write(f"""
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{ listen 0.0.0.0:8088; listen [::]:8088; root {files[0]};
            location = /who {{ return 200 "$remote_addr $remote_port\\n"; }} }}
}}
""")
    net.start("outside", "client", "nginx", "-c", os.path.join(home, "nginx.conf"))
    topology.wait_until("nginx outside", 10, lambda: net.run_in(
        "client", "curl", "-s", url("127.0.0.1", 8088, "who"), check=False).stdout)


@FAMILIES
def test_http(net, files, family):
    """Paired pooling: a host has one address outside, whatever it does (RFC 4787 REQ-2)."""
    seen = {}
    for i in (1, 2, 3):
        for _ in range(20):
            answer = net.run_in(f"b{i}", "curl", "-sfg", url(OUTSIDE[family][0], 8088, "who")).stdout.split()
            assert answer[0] in POOL[family]
            seen.setdefault(i, set()).add(answer[0])
    assert all(len(addrs) == 1 for addrs in seen.values())
    body = subprocess.run(net.in_ns("b1", "curl", "-sfg", url(OUTSIDE[family][0], 8088, "mega")), check=True,
                          capture_output=True).stdout
    assert hashlib.sha256(body).hexdigest() == files[1]["mega"]


@FAMILIES
def test_the_hosts_are_backends_still(net, family):
    service = topology.SERVICE4 if family == 4 else topology.SERVICE6
    for _ in range(20):
        assert "backend" in net.run_in("client", "curl", "-sfg", url(service, 80, "name")).stdout


@FAMILIES
def test_one_source_for_all_the_world(net, family):
    """RFC 4787 REQ-1 (mapping), REQ-8 (filtering), REQ-6 (what comes in later)."""
    with Endpoint(net, "b1", HOST[family](1)) as inside, \
            Endpoint(net, "client", OUTSIDE[family][0], 7001) as one, Endpoint(net, "client", OUTSIDE[family][1], 7002) as two, \
            Endpoint(net, "client", OUTSIDE[family][2], 7003) as stranger:
        seen = set()
        for server in (one, two, one):
            assert inside.send(server.addr, server.port, "hello") is True
            text, addr, port = server.receive()
            assert text == "hello" and addr in POOL[family]
            seen.add((addr, port))
        assert len(seen) == 1
        source = seen.pop()
        for server in (one, two, stranger):
            server.send(*source, "answer")
            assert inside.receive() == ["answer", server.addr, server.port]
        flows = [flow for flow in net.json("flow", "list", "service", f"office{family}")["flows"]
                 if flow["protocol"] == "udp" and flow["client"].endswith(f":{inside.port}")]
        assert len(flows) == 1 and flows[0]["backend"] == "*" and flows[0]["service"] == INSIDE[family]
        assert flows[0]["source"].endswith(f":{source[1]}") and source[0] in flows[0]["source"]


@FAMILIES
def test_from_host_to_host(net, family):
    """Hairpinning, with the source's own address outside (RFC 4787 REQ-9a)."""
    with Endpoint(net, "client", OUTSIDE[family][0], 7011) as server:
        hosts = [Endpoint(net, f"b{i % 3 + 1}", HOST[family](i % 3 + 1)) for i in range(6)]
        sources = []
        for host in hosts:
            host.send(server.addr, server.port, "hello")
            sources.append(tuple(server.receive()[1:]))
        assert len(set(sources)) == len(hosts)
        for host, source in zip(hosts, sources):
            for other, other_source in zip(hosts, sources):
                if host is not other:
                    host.send(*other_source, "psst")
                    assert other.receive() == ["psst", *source]
        for host in hosts:
            host.__exit__()


@FAMILIES
def test_echo(net, family):
    """RFC 5508 REQ-1: of all hosts at once, each has its own answers."""
    pings = [subprocess.Popen(net.in_ns(f"b{i}", "ping", "-c", "5", "-i", "0.2", "-s", "1000", addr),
                              stdout=subprocess.PIPE, text=True)
             for i in (1, 2, 3) for addr in OUTSIDE[family]]
    for ping in pings:
        assert "5 received" in ping.communicate(timeout=20)[0]


@FAMILIES
def test_expired(net, family):
    """By an address of the pool, and not by the one that the packet was sent to."""
    done = net.run_in("b1", "ping", "-c", "1", "-W", "2", "-t", "1", OUTSIDE[family][0], check=False).stdout
    assert any(f"From {addr}" in done for addr in POOL[family]), done


@FAMILIES
def test_errors_come_in(net, family):
    """RFC 4787 REQ-12, RFC 5508 REQ-4: about a packet that nobody wanted."""
    before = net.counters()["events"]["icmp_error"]
    with Endpoint(net, "b2", HOST[family](2)) as inside:
        inside.send(OUTSIDE[family][0], 7099, "anybody")
        assert inside.receive() == "ECONNREFUSED"
    assert net.counters()["events"]["icmp_error"] > before


def send_large(net, family):
    text = "0123456789" * 800
    with Endpoint(net, "b3", HOST[family](3)) as inside, Endpoint(net, "client", OUTSIDE[family][0], 7021) as server:
        for _ in range(5):
            inside.send(server.addr, server.port, text)
            got, addr, port = server.receive()
            assert got == text and addr in POOL[family]
            server.send(addr, port, text)
            assert inside.receive() == [text, server.addr, server.port]


@FAMILIES
def test_large_datagrams(net, family):
    """RFC 4787 REQ-14."""
    send_large(net, family)


def fill_ports(net, family, last, n):
    """A pool with ports from 4000 to @last, and @n endpoints that want one each: sources, and how many got none."""
    name = f"small{family}"
    net.sluice("service", "add", name, f"{HOST[family](1)}/{32 if family == 4 else 128}", "mode", "snat", "source", SMALL[family],
               "source_ports", f"4000-{last}")
    hosts = [Endpoint(net, "b1", HOST[family](1)) for _ in range(n)]

    def judged():
        counters = net.counters()
        return counters["events"]["flow_created"] + counters["verdicts"]["drop_no_source_port"]

    before, n_before = net.counters()["verdicts"]["drop_no_source_port"], judged()
    sources, n_refused = [], 0
    try:
        with Endpoint(net, "client", OUTSIDE[family][0], 7031) as server:
            for i, host in enumerate(hosts):
                host.send(server.addr, server.port, str(i))
                topology.wait_until("a verdict", 5, lambda i=i: judged() > n_before + i)
                if net.counters()["verdicts"]["drop_no_source_port"] > before + n_refused:
                    n_refused += 1
                    assert host.receive() == "ECONNREFUSED"
                    continue
                text, *source = server.receive()
                assert text == str(i)
                sources.append(tuple(source))
        assert net.json("service", "show", name)["service"]["sources"] == [
            {"address": SMALL[family], "flows": len(sources), "ports": last - 3999}]
        assert f"{len(sources)}/{last - 3999}" in net.sluice("service", "show", name).stdout
    finally:
        net.sluice("service", "delete", name)
        for host in hosts:
            host.__exit__()
    assert len(set(sources)) == len(sources)
    assert all(addr == SMALL[family] and 4000 <= port <= last for addr, port in sources)
    return sources, n_refused


@FAMILIES
def test_as_many_as_there_are_ports(net, family):
    """RFC 4787 REQ-3: no port is given twice; who gets none is told at once."""
    sources, n_refused = fill_ports(net, family, 4003, 5)
    assert len(sources) == 4 and n_refused == 1
    # Now the wider prefix is the longest.
    assert net.run_in("b1", "curl", "-sfg", url(OUTSIDE[family][0], 8088, "who")).stdout.split()[0] in POOL[family]


@FAMILIES
def test_explain(net, family):
    def end(addr, port):
        return f"[{addr}]:{port}" if family == 6 else f"{addr}:{port}"

    said = net.json("explain", "tcp", end(HOST[family](1), 4444), end(OUTSIDE[family][0], 443))
    assert said["verdict"] == "forward"
    assert any(addr in str(said["steps"]) for addr in POOL[family]) and f"office{family}" in str(said["steps"])
    said = net.json("explain", "udp", end(OUTSIDE[family][0], 443), end(POOL[family][0], 1))
    assert said["verdict"] in ("drop_no_mapping", "punt_not_service")


def test_kept_over_a_restart_of_the_daemon(net):
    """And written and read back as it was."""
    exported = net.sluice("export").stdout
    assert '"10.90.2.0/24"' in exported and "mode: snat" in exported
    net.stop("sluiced")
    net.start_daemon()
    net.wait_in_step()
    assert net.sluice("export").stdout == exported
    assert net.run_in("b1", "curl", "-sfg", url(OUTSIDE[4][0], 8088, "who")).stdout.split()[0] in POOL[4]


def test_dataplane_killed(net):
    """With XDP the mappings outlive it, with DPDK they are made again; either way the state is the same."""
    with Endpoint(net, "b1", HOST[4](1)) as inside, Endpoint(net, "client", OUTSIDE[4][0], 7041) as server:
        inside.send(server.addr, server.port, "before")
        before = server.receive()[1:]
        net.stop("dataplane", signal.SIGKILL)
        net.bring_dataplane_up()
        net.wait_in_step()
        inside.send(server.addr, server.port, "after")
        text, *after = server.receive()
        assert text == "after" and after[0] == before[0]
        assert topology.ENGINE == "dpdk" or after == before
        server.send(*after, "answer")
        assert inside.receive() == ["answer", server.addr, server.port]
        assert len(net.json("flow", "list", "service", "office4", "client", HOST[4](1))["flows"]) >= 1


@pytest.mark.parametrize("words, reason", (
    (("10.90.3.1/24", "source", "203.0.113.203"), "bits beyond the prefix"),
    (("10.90.2.0/24", "source", "203.0.113.203"), "is service office4's address"),
    (("10.90.3.0/24",), "needs 1..16 source addresses"),
    (("10.90.3.0/24", "source", "10.90.3.7"), "is one of service other's clients"),
    (("10.90.3.0/24", "mode", "nat"), "a prefix goes with mode snat"),
))
def test_refused(net, words, reason):
    done = net.sluice("service", "add", "other", *words, check=False)
    assert done.returncode in (1, 2) and reason in done.stderr
    assert "other" not in [service["name"] for service in net.json("service", "list")["services"]]


def test_no_backends(net):
    done = net.sluice("backend", "add", "office4", "10.90.2.99:80", check=False)
    assert done.returncode == 1 and "has none" in done.stderr


def end(addr, port):
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


@pytest.fixture
def denying(net, family):
    """Two hosts outside that are denied by their prefix, and one of the hosts inside."""
    size = 32 if family == 4 else 128
    net.sluice("service", "set", f"office{family}", "deny_destination", f"{OUTSIDE[family][1]}/{size}",
               "deny_destination", OUTSIDE[family][2], "deny_source", HOST[family](2))
    yield net
    net.sluice("service", "set", f"office{family}", "deny_destination", "none", "deny_source", "none")


@FAMILIES
def test_denied(denying, family):
    """TCP is told by a reset, UDP by ICMP prohibited; nobody else is hindered."""
    net = denying
    before = net.counters()["verdicts"]["drop_denied"]
    for i, addr in ((1, OUTSIDE[family][1]), (3, OUTSIDE[family][2]), (2, OUTSIDE[family][0])):
        done = net.run_in(f"b{i}", "curl", "-sg", "--max-time", "3", url(addr, 8088, "who"), check=False)
        assert done.returncode == 7, done  # refused, at once
    assert net.counters()["verdicts"]["drop_denied"] >= before + 3
    with Endpoint(net, "b1", HOST[family](1)) as inside, Endpoint(net, "client", OUTSIDE[family][1], 7071) as denied, \
            Endpoint(net, "client", OUTSIDE[family][0], 7072) as other:
        inside.send(denied.addr, denied.port)
        assert inside.receive() in ("EHOSTUNREACH", "EACCES")
        inside.send(other.addr, other.port, "hello")
        text, *source = other.receive()
        assert text == "hello"
        denied.send(*source, "let me in")
        other.send(*source, "answer")
        assert inside.receive() == ["answer", other.addr, other.port]
    ping = net.run_in("b1", "ping", "-c", "1", "-W", "2", OUTSIDE[family][2], check=False)
    assert "filtered" in ping.stdout or "prohibited" in ping.stdout, ping.stdout
    assert net.run_in("b1", "curl", "-sfg", url(OUTSIDE[family][0], 8088, "who")).stdout.split()[0] in POOL[family]


@FAMILIES
def test_a_connection_that_is_denied_ends(net, family):
    """The list holds for what lives already."""
    name, script = f"office{family}", (
        "import socket,sys\n"
        "s=socket.create_connection((sys.argv[1],8088),5); print('up',flush=True); sys.stdin.readline()\n"
        # Late words of the handshake may have met the list before these do.
        "try:\n"
        " s.sendall(b'GET /who HTTP/1.0\\r\\n\\r\\n')\n"
        " print('down' if not s.recv(100) else 'alive')\n"
        "except ConnectionResetError: print('reset')\n")
    process = subprocess.Popen(net.in_ns("b1", sys.executable, "-c", script, OUTSIDE[family][0]), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout.readline() == "up\n"
    net.sluice("service", "set", name, "deny_source", HOST[family](1))
    assert process.communicate("\n", timeout=10)[0] == "reset\n"
    net.sluice("service", "set", name, "deny_source", "none")
    assert net.run_in("b1", "curl", "-sfg", url(OUTSIDE[family][0], 8088, "who")).stdout.split()[0] in POOL[family]


@FAMILIES
def test_explain_says_who_is_denied(denying, family):
    said = denying.json("explain", "udp", end(HOST[family](1), 4444), end(OUTSIDE[family][1], 53))
    assert said["verdict"] == "drop_denied" and "deny_destination" in str(said["steps"])
    said = denying.json("explain", "tcp", end(HOST[family](2), 4444), end(OUTSIDE[family][0], 53))
    assert said["verdict"] == "drop_denied" and "deny_source" in str(said["steps"])


def test_a_list_is_kept_and_long(net, tmp_path):
    """Over a restart of either program, with as many prefixes as one service may have."""
    prefixes = ["10.90.1.77/32", *(f"192.{i >> 8}.{i & 255}.0/24" for i in range(4093))]
    lines = [f"run_dir: {net.run_dir}", "services:", "  - name: many", '    address: "10.90.4.0/24"', "    mode: snat",
             "    source: [203.0.113.204]", f"    deny_destination: {json.dumps(prefixes)}",
             '    deny_source: ["10.90.4.7", "10.90.4.64/26"]']
    services, added = open(net.config).read(), "\n".join(lines[2:]) + "\n"
    file = tmp_path / "many.yaml"
    file.write_text(services + added)
    net.sluice("apply", str(file))
    shown = net.json("service", "show", "many")["service"]
    assert len(shown["deny_destination"]) == 4094 and shown["deny_source"] == ["10.90.4.7/32", "10.90.4.64/26"]
    net.stop("dataplane", signal.SIGKILL)
    net.stop("sluiced", signal.SIGKILL)
    net.bring_dataplane_up()
    net.start_daemon()
    net.wait_in_step()
    assert net.json("service", "show", "many")["service"] == {**shown, "counters": net.json(
        "service", "show", "many")["service"]["counters"]}
    assert net.json("explain", "udp", "10.90.4.9:4444", "10.90.1.77:53")["verdict"] == "drop_denied"
    assert net.json("explain", "udp", "10.90.4.9:4444", "10.90.1.78:53")["verdict"] != "drop_denied"
    net.sluice("apply", net.config)
    assert "many" not in [service["name"] for service in net.json("service", "list")["services"]]
