# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What clients' flows say has a backend checked at once, however seldom it is checked; the check decides."""
import contextlib
import itertools
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
# Nobody is asked; who is out is tried after half a second.
WATCHED = {"type": "passive", "fall": 2, "hold_down_ms": 500, "passive_openings": 5, "passive_window_ms": 500}
PORTS = {"web": 80, "web6": 80, "unhinted": 81, "patient": 82, "lone": 83, "watched": 84, "silent": 85, "alone": 86}


def services():
    at = topology.SERVICE4
    three = [(f"{backend4(i)}:8080", 1) for i in (1, 2, 3)]
    embryonic = {"embryonic": 1}
    return {
        "web": (f"{at}:80/tcp", three, embryonic, {"check": HINTED}),
        "web6": (f"[{topology.SERVICE6}]:80/tcp", [(f"[{backend6(i)}]:8080", 1) for i in (1, 2, 3)], embryonic, {"check": HINTED}),
        "unhinted": (f"{at}:81/tcp", three, embryonic, {"check": SELDOM}),
        "patient": (f"{at}:82/tcp", three, {"embryonic": 5}, {"check": {**HINTED, "timeout_ms": 10000}}),
        "lone": (f"{at}:83/tcp", three[1:2], embryonic, {"check": HINTED}),
        "watched": (f"{at}:84/tcp", three, embryonic, {"check": WATCHED}),
        "silent": (f"{at}:85/tcp", three, embryonic, {"check": {**WATCHED, "passive": "openings"}}),
        "alone": (f"{at}:86/tcp", three[1:2], embryonic, {"check": {**WATCHED, "passive": "openings"}}),
    }


@pytest.fixture(scope="module")
def net(files):
    with topology.topology(root=files[0]) as net:
        net.write_config(services())
        net.start_sluice()
        wait_until("all to be checked and well", 20, lambda: are_well(net))
        yield net


def check_anew(net, backend):
    """Nobody has it checked while it is down but its interval, and that is long: by hand it begins anew."""
    for state in ("maint", "ready"):
        net.sluice("backend", "set", backend["service"], backend["address"], "state", state)


def are_well(net):
    """On a busy host a first check may not be answered in time."""
    listed = net.json("backend", "list")["backends"]
    for backend in listed:
        if backend["health"] == "down":
            check_anew(net, backend)
    return all(b["health"] == ("unknown" if net.services[b["service"]][3]["check"]["type"] == "passive" else "up") for b in listed)


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
    for service in services:
        check_anew(net, second(net, service))
    wait_until("backend 2 to be up", 20, lambda: all(second(net, service)["health"] == "up" for service in services))


@pytest.fixture(autouse=True)
def is_well(net):
    """A backend that is deaf is so to all services, and a check of another one that is due then has seen it."""
    down = {b["service"] for b in net.json("backend", "list")["backends"] if b["health"] == "down"}
    recover(net, *down & {"web", "web6", "unhinted", "patient", "lone"})


def is_unmoved(held):
    """Those of the others' flows have the backend that they had."""
    return all(now == was for now, was in zip(held.ask(), held.began) if was != 2)


def stays_up(net, service, seconds, is_done=lambda: True):
    """Backend 2, for so long and until it `is_done`."""
    end = time.monotonic() + seconds

    def is_over():
        assert second(net, service)["health"] == "up"
        return time.monotonic() >= end and is_done()
    wait_until(f"backend 2 of {service} to be up for {seconds} s, and what is to happen meanwhile", seconds + 20, is_over)


def check_hint(net, service, words):
    """What is told of backend 2, which hints have had found ill, and of the others."""
    told = {b["address"]: b for b in net.json("backend", "list", service)["backends"]}
    check = told.pop(second(net, service)["address"])["check"]
    assert words in check["reason"], check
    hint = check["hint"]
    assert hint["openings"] >= 5 and hint["failed"] * 2 >= hint["openings"] and 0.4 < hint["seconds"] < 5, hint
    assert 0 <= hint["probed_seconds"] < 1 and check["hints"] >= 1, check
    text = net.sluice("backend", "list", service).stdout
    assert f"; hint: {hint['failed']} of {hint['openings']} openings failed in " in text and " ms later" in text, text
    assert [b["check"]["hints"] for b in told.values()] == [0, 0], told


@pytest.mark.parametrize("rules, words", [(REFUSE, "Connection refused"), (VANISH, "no answer within")], ids=["refuse", "vanish"])
def test_an_ill_backend_is_down_long_before_its_next_check(net, rules, words):
    held = Held(net, 80)
    with Opener(net, "web"), Opener(net, "web6"):
        start = time.monotonic()
        with Deaf(net, *rules):
            for service in ("web", "web6"):
                _, took = wait_down(net, service, start)
                assert took < LOST_WITHIN_SEC
            for service in ("web", "web6"):
                check_hint(net, service, words)
            # The same backend by the same checks, of a service that takes no hints.
            unhinted = second(net, "unhinted")
            assert unhinted["health"] == "up" and unhinted["check"]["hints"] == 0 and "hint" not in unhinted["check"], unhinted
    assert is_unmoved(held)
    held.close()
    recover(net, "web", "web6")
    done = net.sluice("-j", "events", "since", "0", "type", "backend.hint", "count", "1")
    event = json.loads(done.stdout)  # the first one, of whichever service was looked at first
    assert event["backend"] == {"web": f"{backend4(2)}:8080", "web6": f"[{backend6(2)}]:8080"}[event["service"]], event
    assert 0 < event["failed"] <= event["openings"], event
    assert net.status()["health"]["hints"] >= 1


def test_a_slow_backend_is_checked_and_stays(net):
    """Its answers come a second late: that looks like silence, and the check that is made says that it is none."""
    held = Held(net, 82)
    with Opener(net, "patient", 48, 5.0) as opener:
        before, seen = second(net, "patient")["check"], opener.seen()
        with Deaf(net, *LATE):
            stays_up(net, "patient", 4, lambda: second(net, "patient")["check"]["checks"] > before["checks"])
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


def are_over(net, services):
    """The flows of a flood."""
    counted = [[b["counters"] for b in backends(net, service).values()] for service in services]
    return all(sum(c["unanswered"] for c in of_one) >= 200 and all(c["syns"] == c["syn_acks"] + c["refused"] + c["unanswered"] for c in of_one)
               for of_one in counted)


def test_floods_from_nowhere_take_no_backend_down(net):
    """Spread over all backends they are nobody's fault; of a backend alone one is a hint, and its check knows better."""
    flooded = ("web", "lone", "watched", "silent", "alone")
    held = [Held(net, PORTS[service]) for service in flooded]
    before = {service: {i: b["check"] for i, b in backends(net, service).items()} for service in flooded}
    frames = list(itertools.chain(*zip(*(flood(net, service, 450) for service in flooded))))
    for n in range(0, len(frames), 450):
        net.send_frames(frames[n:n + 450])
        assert all(b["health"] != "down" for b in net.json("backend", "list")["backends"])
        time.sleep(0.05)
    wait_until("the floods' flows to end", 30, lambda: are_over(net, flooded))
    # Two windows more.
    time.sleep(1)
    for service in flooded:
        for i, backend in backends(net, service).items():
            assert backend["health"] != "down" and backend["check"]["failed"] == before[service][i]["failed"], backend
            assert (backend["check"]["hints"] > before[service][i]["hints"]) == (service == "lone"), backend
    for connections in held:
        assert connections.ask() == connections.began
        connections.close()


@pytest.mark.parametrize("services, rules", [(("watched", "silent"), REFUSE), (("silent",), VANISH)], ids=["refuse", "vanish"])
def test_where_nobody_is_asked_a_backend_is_out_and_comes_back(net, services, rules):
    """Out after two bad windows, tried after half a second and then after more; in again when it answers. No other moves."""
    held = [Held(net, PORTS[service]) for service in services]
    with contextlib.ExitStack() as openers:
        for service in services:
            openers.enter_context(Opener(net, service))
        wait_until("backends 1 to 3 to be known", 10, lambda: all(b["health"] == "up" for service in services for b in backends(net, service).values()))
        start = time.monotonic()
        with Deaf(net, *rules):
            for service in services:
                backend, took = wait_down(net, service, start)
                assert took < LOST_WITHIN_SEC
                assert "openings failed in" in backend["check"]["reason"] and backend["check"]["checks"] == 0, backend
                assert "openings failed in" in net.sluice("backend", "list", service).stdout
            # On trial, and out again at the first bad window, each time for longer.
            for service in services:
                wait_until("a second trial", 15, lambda service=service: second(net, service)["check"].get("held_seconds", 0) > 1)
                assert all(backends(net, service)[i]["health"] == "up" for i in (1, 3))
        for service in services:
            wait_until("it to be back", 20, lambda service=service: second(net, service)["health"] == "up")
            flows = second(net, service)["counters"]["syn_acks"]
            stays_up(net, service, 1, lambda service=service, flows=flows: second(net, service)["counters"]["syn_acks"] > flows + 20)
    for connections in held:
        assert is_unmoved(connections)
        connections.close()


def test_where_nobody_is_asked_silence_needs_others_that_answer(net):
    """Of a service's only backend nobody can tell whether it is the backend or the way to it."""
    with Opener(net, "alone"), Deaf(net, *VANISH):
        stays_up(net, "alone", 3)
    assert second(net, "alone")["check"]["hints"] == 0


def test_counters_that_begin_anew_are_no_hint(net):
    """Of a dataplane that was started anew; the next illness is seen as the first was."""
    before = {service: second(net, service)["check"]["hints"] for service in ("web", "patient")}
    net.stop("dataplane")
    net.bring_dataplane_up()
    net.wait_in_step()
    with Opener(net, "web"):
        stays_up(net, "web", 1.5)
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
        stays_up(net, "web", 3)
        assert second(net, "web")["check"]["hints"] == hints
