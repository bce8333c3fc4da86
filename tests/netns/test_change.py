# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Changes under load, and either side killed."""
import collections
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import topology
from test_traffic import TARGETS, http

HERE = os.path.dirname(os.path.abspath(__file__))


class Load:
    """Requests on new connections until stop(); then .result."""

    def __init__(self, net, seconds=120):
        self.process = subprocess.Popen(
            net.in_ns("client", sys.executable, os.path.join(HERE, "http_load.py"), topology.SERVICE4),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds = seconds

    def stop(self):
        out, _ = self.process.communicate("stop\n", timeout=60)
        return json.loads(out)


def test_50_changes_under_load_fail_no_request(net):
    """Adds, reweights and drains; a backend is deleted only when it is drained and idle."""
    load = Load(net)
    spare = f"{topology.backend4(3)}:8080"
    changes = 0
    rng = random.Random(7)
    end = time.monotonic() + 6
    while changes < 50 or time.monotonic() < end:
        net.sluice("backend", "set", "web", spare, "state", "drain")
        wait_idle(net, spare)
        net.sluice("backend", "delete", "web", spare)
        net.sluice("backend", "add", "web", spare, "weight", str(rng.randint(1, 9)))
        net.sluice("backend", "set", "web", f"{topology.backend4(2)}:8080", "weight", str(rng.randint(1, 9)))
        net.sluice("backend", "set", "web", spare, "weight", "3")
        changes += 5
    net.sluice("backend", "set", "web", f"{topology.backend4(2)}:8080", "weight", "2")
    result = load.stop()
    assert result["failed"] == 0, result
    assert result["done"] >= 50, result


def wait_idle(net, address):
    """No flow of the backend is open any more: the test's own connections are over in a moment."""
    def idle():
        flows = net.json("flow", "list", "service", "web", "limit", "10000")["flows"]
        return not [f for f in flows if f["backend"] == address and f["state"] in ("embryonic", "established", "closing")]
    topology.wait_until(f"{address} to be idle", 20, idle)


def test_it_is_waited_for_a_backend_to_be_drained(net):
    backend = f"{topology.backend4(2)}:8080"
    client = subprocess.Popen(net.in_ns("client", sys.executable, "-c", "import socket,sys\nopen_ = []\nfor _ in range(30):\n"
                              f" open_.append(socket.create_connection(('{topology.SERVICE4}', 80)))\n"
                              "print('open', flush=True); sys.stdin.readline()"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline() == "open\n"
        refused = net.sluice("backend", "wait", "web", backend, check=False)
        assert refused.returncode == 1 and "state ready: it takes new flows" in refused.stderr, refused
        net.sluice("backend", "set", "web", backend, "state", "drain")
        late = net.sluice("backend", "wait", "web", backend, "state", "drained", "timeout", "1", check=False)
        assert late.returncode == 1 and "is not drained after 1 s:" in late.stderr and "open" in late.stderr, late
        waiting = subprocess.Popen([os.path.join(topology.BUILD, "sluice"), "-s", os.path.join(net.run_dir, "control.sock"),
                                    "backend", "wait", "web", backend], stdout=subprocess.PIPE, text=True)
        client.communicate("\n", timeout=20)
        assert waiting.communicate(timeout=20)[0] == f"web: {backend}: drained\n" and waiting.returncode == 0
    finally:
        client.kill()
        client.wait()
        net.sluice("backend", "set", "web", backend, "state", "ready")


def test_drained_backend_gets_no_new_flow_and_keeps_the_old(net):
    backend = f"{topology.backend4(2)}:8080"
    script = (
        "import http.client,sys\n"
        f"c=http.client.HTTPConnection('{topology.SERVICE4}',80,timeout=10)\n"
        "for line in sys.stdin:\n"
        " c.request('GET','/name'); print(c.getresponse().read().decode().strip(), flush=True)\n")
    sessions = []
    held = collections.Counter()
    try:
        # Which backend a session gets is the hash's choice: until each has two of them.
        while min(held[f"backend{i}"] for i in (1, 2, 3)) < 2:
            assert len(sessions) < 200, held
            session = subprocess.Popen(net.in_ns("client", sys.executable, "-c", script), text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            sessions.append((session, ask(session)))
            held[sessions[-1][1]] += 1
        net.sluice("backend", "set", "web", backend, "state", "drain")
        for session, name in sessions:
            assert ask(session) == name
        done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"),
                          topology.SERVICE4, "80", "200")
        result = json.loads(done.stdout)
        assert result["failed"] == 0 and "backend2" not in result["answers"], result
    finally:
        net.sluice("backend", "set", "web", backend, "state", "ready")
        for session, _ in sessions:
            session.stdin.close()
            session.wait(10)


def ask(session):
    session.stdin.write("\n")
    session.stdin.flush()
    return session.stdout.readline().strip()


def test_maintenance_ends_the_backends_flows(net):
    backend = f"{topology.backend4(1)}:8080"
    net.sluice("backend", "set", "web", backend, "state", "maint")
    try:
        done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"),
                          topology.SERVICE4, "80", "100")
        result = json.loads(done.stdout)
        assert result["failed"] == 0 and "backend1" not in result["answers"], result
    finally:
        net.sluice("backend", "set", "web", backend, "state", "ready")


def download(net, rate, out):
    """The 200 MB body, slowed so that it lasts; returns the process, whose output is the hash."""
    return subprocess.Popen(
        net.in_ns("client", "bash", "-c",
                  f"set -o pipefail; curl -sf --max-time 150 --limit-rate {rate} "
                  f"http://{topology.SERVICE4}/big | sha256sum"),
        stdout=out, stderr=subprocess.DEVNULL, text=True)


def test_all_services_go_at_once_and_come_back(net):
    before = net.services
    for services, n in (({}, 0), (before, len(before))) * 2:
        net.write_config(services)
        net.sluice("apply", net.config)
        assert len(net.json("service", "list")["services"]) == n
    net.wait_in_step()
    for host in TARGETS:
        assert http(net, host, 50, 31000)["failed"] == 0


def test_daemon_killed_20_times_loses_nothing(net, files):
    """During a 200 MB download and a stream of changes."""
    before = download(net, "14M", subprocess.PIPE)
    acknowledged = {}
    stop = threading.Event()
    address = "203.0.113.77:{}/tcp"

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            name = f"s{n}"
            done = net.sluice("service", "add", name, address.format(n), check=False)
            if done.returncode == 0:
                acknowledged[name] = address.format(n)
            else:
                time.sleep(0.02)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(20):
            seen = len(acknowledged)
            topology.wait_until("changes between kills", 20, lambda seen=seen: len(acknowledged) > seen + 2)
            net.stop("sluiced", signal.SIGKILL)
            net.start_daemon()
    finally:
        stop.set()
        changer.join()
    net.wait_in_step()
    out, _ = before.communicate(timeout=150)
    assert before.returncode == 0 and out.split()[0] == files[1]["big"]
    services = {s["name"]: s["address"] for s in net.json("service", "list")["services"]}
    missing = {name for name, addr in acknowledged.items() if services.get(name) != addr}
    assert not missing, missing
    assert len(acknowledged) >= 40
    status = net.status()
    assert status["digest"] == status["dataplane_digest"]
    for name in acknowledged:
        net.sluice("service", "delete", name)


def test_restarted_dataplane_is_given_its_state_again(net):
    digest = net.status()["digest"]
    net.stop("dataplane", signal.SIGKILL)
    net.start_dataplane()
    net.wait_in_step()
    status = net.status()
    assert status["dataplane_digest"] == digest
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"),
                      topology.SERVICE4, "80", "200")
    assert json.loads(done.stdout)["failed"] == 0


def test_download_survives_a_restart_of_the_dataplane(net, files):
    """Flows are learned again from the backends' packets; the kernel resets nothing meanwhile."""
    running = download(net, "25M", subprocess.PIPE)
    topology.wait_until("the download to run", 10,
                        lambda: any(flow["state"] == "established"
                                    for flow in net.json("flow", "list", "service", "web", "limit", "10000")["flows"]))
    net.stop("dataplane", signal.SIGKILL)
    net.start_dataplane()
    net.wait_in_step()
    out, _ = running.communicate(timeout=150)
    assert running.returncode == 0 and out.split()[0] == files[1]["big"]
    assert net.counters()["events"]["flow_from_reply"] + net.counters()["events"]["flow_created"] > 0
