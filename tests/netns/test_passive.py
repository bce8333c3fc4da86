# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What clients' flows say has a backend checked at once, however seldom it is checked; the check decides."""
import json
import os
import subprocess
import sys
import time

import pytest
from scapy.all import IP, TCP, Ether

import topology
from held import Held
from topology import backend4, backend6, backends, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
# Once in half an hour, so that within a test nobody but a hint has anybody checked.
SELDOM = {"type": "tcp", "interval_ms": 1800000, "fast_interval_ms": 500, "timeout_ms": 400, "fall": 3, "rise": 1,
          "hold_down_ms": 0, "jitter_percent": 0}
HINTED = {**SELDOM, "passive": "openings", "passive_openings": 5, "passive_window_ms": 500}
# As of checks in each second: what is ill has lost its new flows by then.
LOST_WITHIN_SEC = 3
# Nobody is asked; who is out is tried after a second.
WATCHED = {"type": "passive", "fall": 2, "hold_down_ms": 1000, "passive_openings": 5, "passive_window_ms": 500}
PORTS = {"web": 80, "web6": 80, "unhinted": 81, "patient": 82, "lone": 83, "watched": 84, "silent": 85, "alone": 86}


def services():
    at = topology.SERVICE4
    three = [(f"{backend4(i)}:8080", 1) for i in (1, 2, 3)]
    embryonic = {"embryonic": 5}
    return {
        "web": (f"{at}:80/tcp", three, embryonic, {"check": HINTED}),
        "web6": (f"[{topology.SERVICE6}]:80/tcp", [(f"[{backend6(i)}]:8080", 1) for i in (1, 2, 3)], embryonic, {"check": HINTED}),
        "unhinted": (f"{at}:81/tcp", three, embryonic, {"check": SELDOM}),
        "patient": (f"{at}:82/tcp", three, embryonic, {"check": {**HINTED, "timeout_ms": 10000}}),
        "lone": (f"{at}:83/tcp", three[1:2], embryonic, {"check": HINTED}),
        "watched": (f"{at}:84/tcp", three, embryonic, {"check": WATCHED}),
        "silent": (f"{at}:85/tcp", three, embryonic, {"check": {**WATCHED, "passive": "openings"}}),
        "alone": (f"{at}:86/tcp", three[1:2], embryonic, {"check": {**WATCHED, "passive": "openings"}}),
    }


@pytest.fixture(scope="module")
def net(files):
    net = topology.Topology()
    try:
        net.make()
        net.start_nginx(files[0])
        net.write_config(services())
        net.start_sluice()
        wait_until("all to be checked and well", 20, lambda: all(
            b["health"] == ("unknown" if net.services[b["service"]][3]["check"]["type"] == "passive" else "up")
            for b in net.json("backend", "list")["backends"]))
    except BaseException:
        net.abandon()
        raise
    yield net
    net.remove()


class Opener:
    """Clients that open connections to a service all the time, from here to the end of a block."""

    def __init__(self, net, service, n_threads=16, patience=0.3):
        host = topology.SERVICE6 if service == "web6" else topology.SERVICE4
        self.process = subprocess.Popen(
            net.in_ns("client", sys.executable, os.path.join(HERE, "opener.py"), host, str(PORTS[service]), str(n_threads), str(patience)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seen(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        wait_until("connections", 20, lambda: self.seen()["open"] > 200)
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(15)
        self.process.stdout.close()


class Deaf:
    """Backend 2 treats SYNs to its port so, from here to the end of a block."""

    def __init__(self, net, *rules):
        self.net, self.rules = net, rules

    def __enter__(self):
        self.net.run_in("b2", "nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; " +
                        " ".join(f"{rule};" if rule.startswith("add set") else f"add rule inet deaf in {rule};" for rule in self.rules))

    def __exit__(self, *error):
        self.net.run_in("b2", "nft", "delete table inet deaf")


REFUSE = ("tcp dport 8080 reject with tcp reset",)
VANISH = ("tcp dport 8080 tcp flags & (syn | ack) == syn drop",)
# Of each connection the first SYN is lost, so that its answer comes a second late.
LATE = ("add set inet deaf seen { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 30s; }",
        "tcp dport 8080 tcp flags & (syn | ack) != syn accept", "ip saddr . tcp sport @seen accept",
        "tcp dport 8080 add @seen { ip saddr . tcp sport } drop")


def second(net, service):
    """What is listed of backend 2."""
    addresses = (f"{backend4(2)}:", f"[{backend6(2)}]:")
    return next(b for b in net.json("backend", "list", service)["backends"] if b["address"].startswith(addresses))


def wait_down(net, service, start):
    backend = wait_until(lambda: f"backend 2 of {service} to be down: {second(net, service)}", 30,
                         lambda: (b := second(net, service))["health"] == "down" and b["share"] == 0 and b)
    took = time.monotonic() - start
    print(f"{service}: down after {took:.2f} s, {backend['check']}")
    return backend, took


def recover(net, *services):
    """Nobody has it checked while it is down but its interval, and that is long: by hand it begins anew."""
    for service in services:
        address = second(net, service)["address"]
        net.sluice("backend", "set", service, address, "state", "maint")
        net.sluice("backend", "set", service, address, "state", "ready")
    wait_until("backend 2 to be up", 20, lambda: all(second(net, service)["health"] == "up" for service in services))


@pytest.fixture(autouse=True)
def is_well(net):
    """A backend that is deaf is so to all services, and a check of another one that is due then has seen it."""
    for service in ("web", "web6", "unhinted", "patient", "lone"):
        if second(net, service)["health"] == "down":
            recover(net, service)


def is_unmoved(held):
    """Those of the others' flows have the backend that they had."""
    return all(now == was for now, was in zip(held.ask(), held.began) if was != 2)


@pytest.mark.parametrize("service", ["web", "web6"])
@pytest.mark.parametrize("rules, words", [(REFUSE, "Connection refused"), (VANISH, "no answer within")], ids=["refuse", "vanish"])
def test_an_ill_backend_is_down_long_before_its_next_check(net, service, rules, words):
    held = Held(net, 80)
    with Opener(net, service):
        start = time.monotonic()
        with Deaf(net, *rules):
            backend, took = wait_down(net, service, start)
            assert took < LOST_WITHIN_SEC
            assert words in backend["check"]["reason"], backend
            hint = backend["check"]["hint"]
            assert hint["openings"] >= 5 and hint["failed"] * 2 >= hint["openings"] and 0.4 < hint["seconds"] < 5, hint
            assert 0 <= hint["probed_seconds"] < 1 and backend["check"]["hints"] >= 1, backend
            text = net.sluice("backend", "list", service).stdout
            assert f"; hint: {hint['failed']} of {hint['openings']} openings failed in " in text and " ms later" in text, text
            # The same backend by the same checks, of a service that takes no hints.
            unhinted = second(net, "unhinted")
            assert unhinted["health"] == "up" and unhinted["check"]["hints"] == 0 and "hint" not in unhinted["check"], unhinted
    assert is_unmoved(held)
    held.close()
    for i in (1, 3):
        assert [b["check"]["hints"] for b in net.json("backend", "list", service)["backends"] if f"1{i}]" in b["address"] or f"1{i}:" in b["address"]] == [0]
    recover(net, service)


def test_a_hint_is_told(net):
    with Opener(net, "web"), Deaf(net, *REFUSE):
        wait_down(net, "web", time.monotonic())
    recover(net, "web")
    done = net.sluice("-j", "events", "since", "0", "type", "backend.hint", "count", "1")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    of_web = [event for event in events if event["service"] == "web"]
    assert of_web and all(event["backend"] == f"{backend4(2)}:8080" and 0 < event["failed"] <= event["openings"] for event in of_web), done.stdout
    assert net.status()["health"]["hints"] >= len(events)


def test_a_slow_backend_is_checked_and_stays(net):
    """Its answers come a second late: that looks like silence, and the check that is made says that it is none."""
    held = Held(net, 82)
    with Opener(net, "patient", 48, 5.0) as opener:
        before, seen = second(net, "patient")["check"], opener.seen()
        with Deaf(net, *LATE):
            end = time.monotonic() + 8
            while time.monotonic() < end:
                assert second(net, "patient")["health"] == "up"
                time.sleep(0.1)
            late = opener.seen()
        after = second(net, "patient")["check"]
        print(seen, late, after)
        assert late["refused"] == 0 and late["silent"] * 100 < late["open"] - seen["open"]
        assert after["hints"] > before["hints"] and after["checks"] > before["checks"] and after["failed"] == before["failed"], after
    assert held.ask() == held.began
    held.close()


def flood(net, service, count):
    """SYNs that no backend answers, of clients that there are not: their checksums are wrong."""
    mac = net.run_in("lb", "cat", f"/sys/class/net/{net.ports[0]}/address").stdout.strip()
    return [bytes(Ether(dst=mac) / IP(src=f"198.18.{i >> 8}.{i & 255}", dst=topology.SERVICE4) /
                  TCP(sport=1024 + i, dport=PORTS[service], flags="S", chksum=1)) for i in range(count)]


@pytest.mark.parametrize("service, is_hinted", [("web", False), ("lone", True), ("watched", False), ("silent", False), ("alone", False)])
def test_a_flood_from_nowhere_takes_no_backend_down(net, service, is_hinted):
    """Spread over all backends it is nobody's fault; of a backend alone it is a hint, and its check knows better."""
    held = Held(net, PORTS[service])
    before = {i: b["check"] for i, b in backends(net, service).items()}
    frames = flood(net, service, 900)
    for n in range(0, len(frames), 90):
        net.send_frames(frames[n:n + 90])
        assert all(b["health"] != "down" for b in backends(net, service).values())
        time.sleep(0.1)
    wait_until("the flood's flows to end", 30, lambda: (flows := [b["counters"] for b in backends(net, service).values()]) and
               sum(c["unanswered"] for c in flows) >= 400 and
               all(c["syns"] == c["syn_acks"] + c["refused"] + c["unanswered"] for c in flows))
    time.sleep(1)
    for i, backend in backends(net, service).items():
        assert backend["health"] != "down" and backend["check"]["failed"] == before[i]["failed"], backend
        assert (backend["check"]["hints"] > before[i]["hints"]) == is_hinted, backend
    assert held.ask() == held.began
    held.close()


@pytest.mark.parametrize("service, rules", [("watched", REFUSE), ("silent", REFUSE), ("silent", VANISH)], ids=["refuse", "refuse too", "vanish"])
def test_where_nobody_is_asked_a_backend_is_out_and_comes_back(net, service, rules):
    """Out after two bad windows, tried after a second and then after more; in again when it answers. No other moves."""
    held = Held(net, PORTS[service])
    with Opener(net, service):
        wait_until("backends 1 to 3 to be known", 10, lambda: all(b["health"] == "up" for b in backends(net, service).values()))
        start = time.monotonic()
        with Deaf(net, *rules):
            backend, took = wait_down(net, service, start)
            assert took < LOST_WITHIN_SEC
            assert "openings failed in" in backend["check"]["reason"] and backend["check"]["checks"] == 0, backend
            assert "openings failed in" in net.sluice("backend", "list", service).stdout
            # On trial, and out again at the first bad window, each time for longer.
            wait_until("a second trial", 15, lambda: second(net, service)["check"].get("held_seconds", 0) > 2)
            assert all(backends(net, service)[i]["health"] == "up" for i in (1, 3))
        wait_until("it to be back", 20, lambda: second(net, service)["health"] == "up")
        flows = second(net, service)["counters"]["syn_acks"]
        time.sleep(2)
        assert second(net, service)["health"] == "up" and second(net, service)["counters"]["syn_acks"] > flows + 20
    assert is_unmoved(held)
    held.close()


def test_where_nobody_is_asked_silence_needs_others_that_answer(net):
    """Of a service's only backend nobody can tell whether it is the backend or the way to it."""
    with Opener(net, "alone"):
        with Deaf(net, *VANISH):
            end = time.monotonic() + 4
            while time.monotonic() < end:
                assert second(net, "alone")["health"] == "up"
                time.sleep(0.1)
    assert second(net, "alone")["check"]["hints"] == 0


def test_counters_that_begin_anew_are_no_hint(net):
    """Of a dataplane that was started anew; the next illness is seen as the first was."""
    before = {service: second(net, service)["check"]["hints"] for service in ("web", "patient")}
    net.stop("dataplane")
    net.bring_dataplane_up()
    net.wait_in_step()
    with Opener(net, "web"):
        time.sleep(2)
        down = [b for b in net.json("backend", "list")["backends"] if b["health"] == "down"]
        assert not down, down
        with Deaf(net, *REFUSE):
            _, took = wait_down(net, "web", time.monotonic())
            assert took < LOST_WITHIN_SEC
    assert second(net, "patient")["check"]["hints"] == before["patient"]
    assert second(net, "web")["check"]["hints"] > before["web"]
    recover(net, "web")


def test_without_the_key_nobody_looks(net):
    hints = second(net, "web")["check"]["hints"]
    net.services["web"][3]["check"] = {**HINTED, "passive": "off"}
    net.write_config(net.services)
    checks = second(net, "web")["check"]["checks"]
    net.sluice("apply", net.config)
    wait_until("the check that another check begins with", 5, lambda: second(net, "web")["check"]["checks"] > checks)
    with Opener(net, "web"), Deaf(net, *REFUSE):
        time.sleep(3)
        backend = second(net, "web")
        assert backend["health"] == "up" and backend["check"]["hints"] == hints, backend
