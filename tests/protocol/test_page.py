# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The status page of sluiced in a browser: against the memory dataplane, and against answers made up here; needs no
root."""

import base64
import hashlib
import http.client
import http.server
import json
import re
import threading
import time

import pytest

from browser import Browser
from sluice_api import Metrics, running

POLL = "poll().then(() => true)"
TEXT = "document.body.innerText"
NEVER = "<img src=x onerror=\"hit=1\"><script>hit=2</script>'\"&amp;\u202e"


def config(folder):
    """The backends of web are up while the file `well` is there."""
    check = folder / "check"
    check.write_text(f"#!/bin/sh\ntest -e {folder}/well || exit 3\n")
    check.chmod(0o755)
    (folder / "well").touch()
    return f"""health: {{exec: true}}
services:
  - name: web
    address: 203.0.113.10:80/tcp
    check: {{type: exec, command: {check}, interval_ms: 100, rise: 1, fall: 1, hold_down_ms: 0}}
    backends:
      - {{address: 10.0.0.2:8080, weight: 3}}
      - {{address: 10.0.0.3:8080, state: maint}}
      - {{address: 10.0.0.4:8080, state: drain}}
  - name: dns6
    address: "[2001:db8::53]:53/udp"
    mode: fullnat
    source: ["2001:db8:1::1"]
    backends:
      - {{address: "[2001:db8:1::2]:53"}}
"""


@pytest.fixture(scope="module")
def sluice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sluice")
    with running(Metrics(folder, config(folder))) as instance:
        instance.folder = folder
        yield instance


@pytest.fixture(scope="module")
def chromium():
    instance = Browser()
    yield instance
    instance.stop()


@pytest.fixture
def page(chromium):
    """The browser; whatever it showed, nothing was asked for elsewhere, and it complained of nothing."""
    chromium.asked.clear()
    chromium.complaints.clear()
    yield chromium
    assert not [url for url in chromium.urls if not url.startswith(("http://127.0.0.1:", "data:image/svg+xml"))]
    assert chromium.complaints == []


class Stub:
    """The page as sluiced serves it, above documents of the test's own."""

    def __init__(self, sluice):
        _, headers, body = sluice.get("/")
        self.documents = {}  # path -> what answers: an object, or a number for a refusal
        self.asked = []
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                stub.asked.append(self.path)
                answer = stub.documents.get(self.path)
                data = body if self.path == "/" else json.dumps(answer)
                self.send_response(answer if isinstance(answer, int) else 200)
                for name in ("Content-Security-Policy", "X-Content-Type-Options"):
                    self.send_header(name, headers[name])
                self.send_header("Content-Type", headers["Content-Type"] if self.path == "/" else "application/json")
                self.end_headers()
                self.wfile.write(data.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, document):
        self.documents["/status.json"] = document

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stub(sluice):
    instance = Stub(sluice)
    instance.document = json.loads(sluice.get("/status.json")[2])
    yield instance
    instance.stop()


def shown(page):
    """What the rows say, by their first cell."""
    rows = page.run("[...document.querySelectorAll('#services tbody tr')].map((row) => [row.className, "
                    "...[...row.cells].map((cell) => cell.textContent)])")
    return {row[1]: row for row in rows}


def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_document_and_a_policy_that_allows_nothing_else(sluice):
    status, headers, body = sluice.get("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(words.strip().split(" ", 1) for words in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", body, re.S)
        assert policy[rule] == "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
    assert [link.split(",")[0] for link in re.findall('(?:src|href)="([^"]*)"', body)] == ["data:image/svg+xml", "metrics"]
    assert "innerHTML" not in body
    assert set(re.findall(r"https?://[^\s'\"]+", body)) == {"http://www.w3.org/2000/svg"}
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"


def test_head_has_no_body(sluice):
    for path, code in (("/", 200), ("/status.json", 200), ("/backends.json?service=web", 200), ("/metrics", 200), ("/healthz", 200),
                       ("/backends.json", 404), ("/other", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", sluice.port, timeout=10)
        connection.connect()
        connection.sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b"".join(iter(lambda: connection.sock.recv(65536), b""))
        connection.close()
        assert data.startswith(b"HTTP/1.1 %d " % code) and data.endswith(b"\r\n\r\n") and data.count(b"\r\n\r\n") == 1
        assert int(re.search(rb"Content-Length: (\d+)", data)[1]) == len(sluice.get(path)[2].encode()) or path == "/metrics"


def test_documents_are_made_once_a_second(sluice):
    clocks, start = set(), time.monotonic()
    for _ in range(50):
        clocks.add(json.loads(sluice.get("/status.json")[2])["clock_us"])
        clocks.add(json.loads(sluice.get("/backends.json?service=web")[2])["clock_us"])
    assert len(clocks) <= 2 * (2 + time.monotonic() - start)
    document = json.loads(sluice.get("/status.json")[2])
    assert "config_file" not in document["status"] and "digest" not in document["status"]
    assert [service["name"] for service in document["services"]] == ["dns6", "web"]


def test_services_and_backends_are_shown(sluice, page):
    wait(lambda: json.loads(sluice.get("/status.json")[2])["services"][1]["backend_states"]["up"] == 1)
    page.open(f"http://127.0.0.1:{sluice.port}/")
    page.until("document.querySelectorAll('tr.backend').length === 4")
    rows = shown(page)
    assert rows["web"][1:5] == ["web", "203.0.113.10:80/tcpnat maglev", "1 of 3, 1 drain, 1 maint", "3 backends"]
    assert rows["10.0.0.2:8080"][3:5] == ["up", "3 · 100 %"] and rows["10.0.0.2:8080"][2].startswith("checked in ")
    assert rows["10.0.0.3:8080"][3:5] == ["maint", "1 · 0 %"]
    assert rows["10.0.0.4:8080"][3] == "drain"
    assert rows["dns6"][2:4] == ["[2001:db8::53]:53/udpfullnat maglev", "1 ready"]
    assert page.run(TEXT).count("in step") == 1 and "engine memory" in page.run(TEXT)
    # A shape for each state, for who sees no colours.
    shapes = page.run("[...document.querySelectorAll('tr.backend i.mark')].map((mark) => mark.className)")
    assert shapes == ["mark ready", "mark up", "mark maint", "mark drain"]
    page.run(POLL)
    assert page.run("document.querySelector('#age').textContent") == "live"


def test_a_backend_that_goes_down_is_shown_so(sluice, page):
    page.open(f"http://127.0.0.1:{sluice.port}/")
    page.until("document.querySelector('tr.service') !== null")
    (sluice.folder / "well").unlink()
    # On a busy host a check may run out of time now and then.
    page.until(f"{POLL}.then(() => document.querySelectorAll('tr.backend.down').length === 2 "
               "&& (document.body.innerText.match(/exit status 3/g) || []).length >= 2)")
    rows = shown(page)
    assert "exit status 3" in rows["10.0.0.2:8080"][2] and rows["10.0.0.2:8080"][3].startswith("DOWN, yet used for ")
    assert rows["web"][0] == "service open down" and rows["web"][3] == "2 of 3 DOWN, all used"
    assert page.run("document.title").startswith("2 down · ")
    assert "1 service in panic" in page.run("document.querySelector('#notices').innerText")
    (sluice.folder / "well").touch()
    page.until(f"{POLL}.then(() => document.querySelectorAll('tr.backend.down').length === 0)")


def test_rates_are_differences_by_the_balancers_clock(stub, page):
    document = stub.document
    document["clock_us"] = 1_000_000
    web, backend = document["services"][1], document["services"][1]["backends"][0]
    stub.answer(document)
    page.open(stub.url)
    page.until("document.querySelectorAll('tr.backend').length")
    assert shown(page)["web"][6:11] == ["–"] * 5
    # Half a second later, by its clock.
    document["clock_us"] = 1_500_000
    web["counters"].update(flows=50, packets_in=1000, bytes_in=1_000_000, packets_out=2000, bytes_out=62_500_000, drops=1)
    backend["counters"].update(flows=50, flows_ended=20, packets_in=500, packets_out=500, bytes_in=125, bytes_out=0)
    document["counters"]["events"].update(rx=6000, rx_bytes=10 ** 9)
    document["counters"]["verdicts"].update(drop_ttl=3, drop_martian=30)
    page.run(POLL)
    assert shown(page)["web"][5:11] == ["30", "100", "6.00 k", "16.0 M", "1.00 G", "2"]
    assert shown(page)["10.0.0.2:8080"][5:11] == ["30", "100", "2.00 k", "2.00 k", "0", ""]
    tiles = page.run("document.querySelector('#tiles').innerText")
    assert "12.0 k" in tiles and "16.0 G" in tiles and "0.55 % of packets" in tiles
    assert page.run("document.querySelector('#dropping').textContent") == "Dropped now, a second: drop_martian 60, drop_ttl 6"
    # The same answer again, which sluiced gives within a second, changes nothing.
    page.run(POLL)
    assert shown(page)["web"][7] == "6.00 k"
    # A dataplane that begins anew counts from nothing: no rate, and none below it.
    document["clock_us"] = 2_500_000
    document["status"]["dataplane_uptime_seconds"] = 0
    web["counters"].update(flows=51, packets_in=1)
    page.run("last.status.dataplane_uptime_seconds = 9")
    page.run(POLL)
    assert shown(page)["web"][6:11] == ["–"] * 5
    # Without one there is nothing to count.
    document["status"].update(connected=False, in_step=False, engine=None, reason="the socket: no such file", ports=[], workers=[])
    document["counters"] = web["counters"] = None
    document["clock_us"] = 3_500_000
    page.run(POLL)
    assert shown(page)["web"][5:11] == ["–"] * 6
    assert "No dataplane is connected: the socket: no such file" in page.run(TEXT)


def test_names_are_text_whatever_stands_in_them(stub, page):
    def spoil(value):
        if isinstance(value, dict):
            return {key: spoil(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return value + NEVER if isinstance(value, str) and value not in ("maint", "drain", "ready", "up", "down") else value

    document = spoil(stub.document)
    document["status"]["reason"], document["status"]["in_step"] = NEVER, False
    document["services"][1]["backends"][0].update(health="down", check={"reason": NEVER, "checks": 1, "took_seconds": 0, "panic": False})
    stub.answer(document)
    page.open(stub.url)
    page.until("document.querySelectorAll('tr.backend').length === 4")
    page.run("document.querySelector('#below').open = true")
    page.until("document.querySelector('#workers td') !== null")
    assert shown(page)["web" + NEVER][2].startswith("203.0.113.10:80/tcp" + NEVER)
    assert NEVER in page.run("document.querySelector('tr.backend.down td.detail').textContent")
    assert page.run("typeof hit") == "undefined"
    assert page.run("document.querySelectorAll('img').length + document.querySelectorAll('script').length") == 1


def test_script_from_elsewhere_is_refused(sluice, page):
    """That the policy is there is not enough: it has to be obeyed."""
    page.open(f"http://127.0.0.1:{sluice.port}/")
    page.until("document.querySelector('tr.service') !== null")
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'hit = 1'}))")
    page.run("document.body.append(Object.assign(document.createElement('img'), {src: 'http://192.0.2.1/'}))")
    assert page.run("typeof hit") == "undefined"
    wait(lambda: page.run("1") and len(page.complaints) == 2 and "http://192.0.2.1/" not in page.urls)
    assert all("Content Security Policy" in line for line in page.complaints), page.complaints
    page.complaints.clear()


def test_a_daemon_that_is_gone_is_missed(stub, page):
    stub.answer(stub.document)
    page.open(stub.url)
    page.until("document.querySelector('tr.service') !== null")
    stub.answer(503)
    page.run(POLL)
    notice = page.run("document.querySelector('#notices').innerText")
    assert re.fullmatch(r"No news from sluiced: HTTP status 503\. Packets may still be balanced\. These figures are \d+ s old\.", notice.strip().splitlines()[0])
    assert page.run("document.querySelector('#said').textContent").startswith("No news from sluiced: HTTP status 503. Packets")
    assert page.run("document.body.className") == "stale"
    page.until("document.querySelector('#age').textContent.endsWith(' s old')")
    assert len(shown(page)) == 6  # what was known stays
    stub.answer(stub.document)
    page.run(POLL)
    assert page.run("document.body.className") == "" and "No news" not in page.run(TEXT)
    stub.stop()
    page.run(POLL)
    assert "No news from sluiced: it cannot be reached" in page.run(TEXT)
    page.complaints[:] = [line for line in page.complaints if "503" not in line and "ERR_CONNECTION_REFUSED" not in line]


def test_nothing_is_asked_while_hidden_or_paused(stub, page):
    stub.answer(stub.document)
    page.open(stub.url)
    page.until("document.querySelector('tr.service') !== null")
    page.run("timers = 0; setTimeout = () => { timers++; }")
    page.run(POLL)
    assert page.run("timers") == 1
    page.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.run(POLL)
    assert page.run("timers") == 1
    page.run("Object.defineProperty(document, 'hidden', {value: false}); document.dispatchEvent(new Event('visibilitychange'))")
    page.until("timers === 2")
    page.press("p")
    assert page.run("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"
    page.run(POLL)
    assert page.run("timers") == 2
    page.press("p")
    page.until("timers === 3")


def test_a_keyboard_is_enough(stub, page):
    stub.answer(stub.document)
    page.open(stub.url)
    page.until("document.querySelector('tr.service') !== null")
    page.press("/")
    for letter in "10.0.0.4":
        page.press(letter)
    assert [name for name, row in shown(page).items() if row[0].startswith("service")] == ["web"]
    page.press("Escape")
    assert len(shown(page)) == 6
    page.run("document.querySelector('button.toggle').focus()")
    page.press("ArrowDown")
    assert page.run("document.activeElement.textContent") == "web"
    page.press("Enter")
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "false" and len(shown(page)) == 3
    # An answer that comes takes the focus from nobody.
    page.run(POLL)
    assert page.run("document.activeElement.textContent") == "web"


def crowd(document, n_services, n_backends):
    """As sluiced answers when there are too many backends for one document."""
    document["has_backends"] = False
    document["status"].update(services=n_services, backends=n_services * n_backends)
    document["services"] = [{
        "name": f"service{i}", "address": f"203.0.{i // 250}.{i % 250}:80/tcp", "mode": "nat", "scheduler": "maglev", "owner": "file",
        "counters": {"flows": 0, "packets_in": 0, "bytes_in": 0, "packets_out": 0, "bytes_out": 0, "drops": 0},
        "backend_states": {"up": n_backends - (i == 777), "down": int(i == 777), "unknown": 0, "unchecked": 0, "drain": 0, "maint": 0},
        "panic": False} for i in range(n_services)]
    return document


def test_a_thousand_services_are_a_page_at_a_time(stub, page):
    backends = [dict(stub.document["services"][1]["backends"][0], address=f"10.9.{i // 100}.{i % 100}:80") for i in range(250)]
    document = crowd(stub.document, 1000, 250)
    document["clock_us"] = 1_000_000
    stub.answer(document)
    stub.documents["/backends.json?service=service777"] = {"clock_us": 1_000_000, "service": "service777", "backends": backends}
    page.open(stub.url)
    page.until("document.querySelectorAll('tr.service').length === 50")
    assert page.run("document.querySelectorAll('*').length") < 2500
    document["clock_us"] = 2_000_000
    document["services"][500]["counters"]["packets_in"] = 5
    page.run(POLL)
    heads = "document.querySelectorAll('#services thead button')"
    page.run(f"{heads}[6].click()")  # packets
    assert next(iter(shown(page))) == "service500"
    page.run(f"{heads}[2].click()")  # state: who is not well comes first
    assert next(iter(shown(page))) == "service777"
    assert page.run("document.querySelector('th[aria-sort]').textContent") == "State"
    page.run("document.querySelector('#next').click()")
    assert page.run("document.querySelector('#next').textContent") == "Next (page 2 of 20)"
    page.run("document.querySelector('#bad').click()")
    assert list(shown(page)) == ["service777"] and page.run("document.querySelector('#found').textContent") == "1 of 1,000"
    assert not [path for path in stub.asked if path.startswith("/backends.json")]
    page.run("document.querySelector('button.toggle').click()")
    page.until("document.querySelectorAll('tr.backend').length === 100")
    page.run("document.querySelector('tr.more button:nth-of-type(2)').click()")
    assert "10.9.1.0:80" in shown(page) and "10.9.0.99:80" not in shown(page)
    assert "backends 101 to 200 of 250" in page.run(TEXT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(sluice, page, scheme):
    """Contrast of 4.5 to 1 at least (WCAG 2.1, 1.4.3), of every colour that words have on what is behind them."""
    page.prefer(scheme)
    page.open(f"http://127.0.0.1:{sluice.port}/")
    page.until("document.querySelector('tr.service') !== null")
    colours = page.run("Object.fromEntries(['page', 'paper', 'text', 'quiet', 'link', 'good', 'bad', 'bad-paper', 'care', 'care-paper']"
                       ".map((name) => [name, getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))")

    def light(name):
        digits = colours[name][1:] if len(colours[name]) == 7 else "".join(2 * digit for digit in colours[name][1:])
        parts = [int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)]
        return sum(weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
                   for weight, part in zip((0.2126, 0.7152, 0.0722), parts))

    for words, papers in (("text", ("page", "paper", "bad-paper")), ("quiet", ("page", "paper", "bad-paper")), ("link", ("paper",)),
                          ("good", ("paper",)), ("bad", ("paper", "bad-paper")), ("care", ("paper", "care-paper"))):
        for paper in papers:
            high, low = sorted((light(words), light(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (words, paper, colours)
    assert (light("page") > 0.5) == (scheme == "light")
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", background)[0]) > 128) == (scheme == "light")
    page.prefer("")


def test_it_fits_a_telephone(sluice, page):
    page.resize(390, 800)
    page.open(f"http://127.0.0.1:{sluice.port}/")
    page.until("document.querySelectorAll('tr.backend').length === 4")
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.resize(1280, 800)


def test_many_backends_are_asked_for_by_service(tmp_path):
    lines = ["services:"]
    for i in range(101):
        lines += [f"  - name: service{i}", f"    address: 203.0.113.{i + 1}:80/tcp", "    slots: 10007", "    backends:"]
        lines += [f"      - {{address: 10.{i}.0.{k + 1}:80}}" for k in range(100)]
    with running(Metrics(tmp_path, "\n".join(lines) + "\n")) as instance:
        start = time.monotonic()
        text = instance.get("/status.json")[2]
        assert time.monotonic() - start < 2 and len(text) < 100_000
        document = json.loads(text)
        assert not document["has_backends"] and len(document["services"]) == 101 and "backends" not in document["services"][0]
        assert len(json.loads(instance.get("/backends.json?service=service7")[2])["backends"]) == 100
        # Who asks for more services in a second than are kept is put off.
        answers = [instance.get(f"/backends.json?service=service{i}")[0] for i in range(60)]
        assert 503 in answers and answers.count(200) >= 8
        wait(lambda: instance.get("/backends.json?service=service99")[0] == 200)
