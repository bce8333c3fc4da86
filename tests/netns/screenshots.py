#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""screenshots.py [DIR]: makes the pictures of the status page, docs/page/*.png, from a balancer with traffic.

Namespaces as those of the tests, nginx and UDP servers behind four services, loads, one backend that was killed and one
that is drained; SLUICE_ENGINE says which dataplane (dpdk). As root; takes a minute. Needs python3-pil, which comes with
matplotlib."""
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from PIL import Image

import topology
from topology import TOP, Topology, backend4, backend6, wait_until

sys.path.insert(0, os.path.join(TOP, "tests/protocol"))
from browser import Browser  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 40  # of trends
CHECK = {"type": "http", "path": "/health", "interval_ms": 500, "hold_down_ms": 0}
MAX_BYTES = 150_000


def services():
    at = topology.SERVICE4
    return {
        "www": (f"{at}:80/tcp", [(f"{backend4(i)}:8080", i) for i in (1, 2, 3)], {}, {"check": CHECK}),
        "www6": (f"[{topology.SERVICE6}]:80/tcp", [(f"[{backend6(i)}]:8080", 1) for i in (1, 2)], {}, {"check": CHECK}),
        "media": (f"{at}:8080/tcp", [(f"{backend4(i)}:8080", 1) for i in (1, 2)], {},
                  {"mode": "fullnat", "source": topology.SOURCES4, "check": CHECK}),
        "resolver": (f"{at}:53/udp", [(f"{backend4(i)}:5353", 1) for i in (1, 2, 3)], {}, {}),
    }


def write_bodies():
    root = tempfile.mkdtemp(prefix="sluice-bodies-")
    os.chmod(root, 0o755)
    with open(os.path.join(root, "film"), "wb") as file:
        file.write(os.urandom(1 << 20))
    return root


def start_loads(net):
    """Connections, downloads and questions, each with a will of its own."""
    at = topology.SERVICE4
    more = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    return [subprocess.Popen(net.in_ns("client", *words), **more) for words in (
        (sys.executable, os.path.join(HERE, "http_load.py"), at),
        (sys.executable, os.path.join(HERE, "http_load.py"), topology.SERVICE6),
        (sys.executable, os.path.join(HERE, "udp_stream.py"), at, "53", "400", "200"),
        ("sh", "-c", f"while curl -s -o /dev/null --limit-rate {random.choice([3, 4])}m http://{at}:8080/film; do sleep 0.$(date +%1N); done"),
    )]


def upset(net):
    """One backend dies, one is drained: what an operator looks at the page for."""
    net.stop("nginx3")
    net.sluice("backend", "set", "media", f"{backend4(2)}:8080", "state", "drain")
    wait_until("a backend to be down", 20, lambda: net.status()["health"]["down"] == 1)


def watch(browser):
    """Until the trends are some seconds long; sluiced makes one document a second."""
    browser.open("http://127.0.0.1:9109/")
    browser.until("document.querySelectorAll('tr.backend').length === 10")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        browser.run("poll().then(() => true)")
        time.sleep(1)
    rate = "last.services.find((one) => one.name === 'www') && rates.known.get('service www').rate.packets_in"
    assert browser.run(rate) > 0, "no traffic is shown"
    assert browser.run("document.querySelectorAll('tr.backend.down').length") == 1
    assert browser.complaints == [], browser.complaints


def take(browser, folder):
    for name, scheme, size in (("light", "light", (1280, 800)), ("dark", "dark", (1280, 800)), ("phone", "light", (390, 800))):
        browser.prefer(scheme)
        browser.resize(*size)
        browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        path = os.path.join(folder, f"{name}.png")
        Image.open(io.BytesIO(browser.picture())).convert("RGB").quantize(128).save(path, optimize=True)
        assert os.path.getsize(path) < MAX_BYTES, f"{path}: {os.path.getsize(path)} bytes, limit {MAX_BYTES}"
        print(f"{path}: {os.path.getsize(path)} bytes")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "docs/page")
    os.makedirs(folder, exist_ok=True)
    root, loads, browser, net = write_bodies(), [], None, Topology()
    try:
        net.make()
        net.start_nginx(root)
        net.start_echo()
        net.write_config(services())
        net.bring_dataplane_up()
        # With a name of its own for the page to show.
        net.start("sluiced", "lb", "unshare", "--uts", "sh", "-c", 'hostname edge-1 && exec "$0" -c "$1"',
                  os.path.join(topology.BUILD, "sluiced"), net.config)
        net.wait_in_step()
        loads = start_loads(net)
        browser = Browser(within=net.in_ns("lb"))
        upset(net)
        watch(browser)
        take(browser, folder)
    finally:
        for load in loads:
            load.kill()
            load.wait()
        if browser:
            browser.stop()
        net.remove()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
