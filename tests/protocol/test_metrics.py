# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""/metrics and /healthz of sluiced against the memory dataplane; needs no root."""

import json
import pathlib
import re
import socket
import subprocess
import time

import pytest

from sluice_api import Metrics, running

ALERTS = pathlib.Path(__file__).resolve().parents[2] / "docs/prometheus/alerts.yaml"
DASHBOARD = ALERTS.parents[1] / "grafana/sluice.json"
WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    check: {type: tcp, interval_ms: 3600000}
    backends:
      - {address: 10.0.0.2:8080}
      - {address: 10.0.0.3:8080, state: maint}
  - name: dns6
    address: "[2001:db8::53]:53/udp"
    backends:
      - {address: "[2001:db8:1::2]:53"}
"""


@pytest.fixture
def sluice(tmp_path):
    with running(Metrics(tmp_path, WEB)) as instance:
        yield instance


def test_promtool_has_nothing_to_say(sluice):
    status, headers, body = sluice.get()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    judged = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_services_on_other_roles_are_counted(sluice):
    api = sluice.connect()
    api.call("backend.set", service="dns6", address="[2001:db8:1::2]:53", role="sorry")
    api.call("backend.add", service="web", address="10.0.0.4:8080", role="backup")
    api.call("backend.set", service="web", address="10.0.0.2:8080", state="drain")
    sluice.fresh("sluice_services_on_backup", 1)
    samples = sluice.samples()
    assert samples["sluice_services_on_sorry"] == 1
    assert samples['sluice_backend_in_use{service="web",backend="10.0.0.2:8080"}'] == 0
    assert samples['sluice_backend_in_use{service="web",backend="10.0.0.4:8080"}'] == 1
    api.close()


def test_what_is_counted_is_told(sluice):
    samples = sluice.samples()
    assert samples["sluice_dataplane_connected"] == 1 and samples["sluice_dataplane_in_step"] == 1
    assert samples["sluice_services"] == 2 and samples["sluice_backends"] == 3
    assert samples['sluice_packets_total{verdict="forward"}'] == 0 and "sluice_rx_bytes_total" in samples
    assert samples['sluice_service_flows_total{service="dns6"}'] == 0
    assert samples['sluice_backend_slots{service="web",backend="10.0.0.2:8080"}'] == 65537
    assert samples['sluice_backend_slots{service="dns6",backend="[2001:db8:1::2]:53"}'] == 65537
    assert samples['sluice_backend_in_use{service="web",backend="10.0.0.2:8080"}'] == 1
    assert samples['sluice_backend_in_use{service="web",backend="10.0.0.3:8080"}'] == 0
    assert samples["sluice_services_on_backup"] == samples["sluice_services_on_sorry"] == 0
    assert samples["sluice_health_hints_total"] == samples['sluice_backend_hints_total{service="web",backend="10.0.0.2:8080"}'] == 0
    assert 'sluice_backend_hints_total{service="dns6",backend="[2001:db8:1::2]:53"}' not in samples
    # Checked, though nobody knows yet; not checked in maintenance, nor where nobody asks.
    assert samples['sluice_backend_up{service="web",backend="10.0.0.2:8080"}'] == 1
    assert 'sluice_backend_up{service="web",backend="10.0.0.3:8080"}' not in samples
    assert 'sluice_backend_up{service="dns6",backend="[2001:db8:1::2]:53"}' not in samples
    api = sluice.connect()
    api.call("service.add", name="more", address="203.0.113.11:80/tcp")
    sluice.fresh("sluice_services", 3)
    assert sluice.samples()["sluice_generation"] == api.call("status")["generation"]


def test_health_of_the_balancer_itself(sluice):
    assert sluice.get("/healthz")[::2] == (200, "ok\n")
    sluice.kill("sluice-memory")
    end = time.monotonic() + 20
    while sluice.get("/healthz")[0] != 503:
        assert time.monotonic() < end
    assert sluice.get("/healthz")[2].startswith("dataplane: ")
    sluice.fresh("sluice_dataplane_connected", 0)
    samples = sluice.samples()
    assert samples["sluice_services"] == 2 and not [name for name in samples if name.startswith("sluice_packets_total")]
    sluice.start_dataplane()
    sluice.await_step()
    assert sluice.get("/healthz")[0] == 200


@pytest.mark.parametrize("path, method, headers, status", [
    ("/index.html", "GET", {}, 404), ("/metrics/", "GET", {}, 404), ("//", "GET", {}, 404), ("/../etc/passwd", "GET", {}, 404),
    ("/metrics", "HEAD", {}, 200), ("/metrics", "POST", {}, 501), ("/metrics", "DELETE", {}, 501),
    ("/", "HEAD", {}, 200), ("/status.json", "HEAD", {}, 200), ("/", "POST", {}, 501), ("/status.json", "PUT", {}, 501),
    ("/backends.json", "GET", {}, 404), ("/backends.json?service", "GET", {}, 404), ("/backends.json?service=we", "GET", {}, 404),
    ("/backends.json?service=" + "x" * 4000, "GET", {}, 404), ("/backends.json?service=web", "GET", {}, 200),
    ("/metrics", "GET", {"X": "y" * 10000}, 400),
])
def test_nothing_else_is_served(sluice, path, method, headers, status):
    assert sluice.get(path, method, **headers)[0] == status
    assert sluice.get()[0] == 200


def test_who_asks_and_does_not_listen_holds_nobody_up(sluice):
    """Connections that say nothing, half a question, or read no answer."""
    idle = [socket.create_connection(("127.0.0.1", sluice.port)) for _ in range(50)]
    for i, connection in enumerate(idle):
        connection.sendall([b"", b"GET /met", b"\0\xff" * 100, b"GET /metrics HTTP/1.1\r\n\r\n"][i % 4])
    api = sluice.connect()
    start = time.monotonic()
    for _ in range(20):
        api.call("status")
    assert time.monotonic() - start < 5
    end = time.monotonic() + 20
    while sluice.get("/healthz")[0] != 200:
        assert time.monotonic() < end, "those that read no answer are never given up"
        time.sleep(0.1)
    for connection in idle:
        connection.close()


def test_an_address_that_is_taken_is_had_when_it_is_free(tmp_path):
    instance = Metrics(tmp_path, WEB)
    holder = socket.socket()
    holder.bind(("127.0.0.1", instance.port))
    holder.listen()
    try:
        instance.start_dataplane()
        instance.start_daemon()
        instance.await_step()
        assert instance.connect().call("status")["metrics"] is None
        assert f"metrics.listen 127.0.0.1:{instance.port}: Address already in use" in instance.log.read_text()
        holder.close()
        end = time.monotonic() + 20
        while instance.connect().call("status")["metrics"] is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert instance.get()[0] == 200
    finally:
        holder.close()
        instance.stop()


def test_beyond_ten_thousand_backends_none_has_samples(tmp_path):
    lines = ["services:"]
    for i in range(101):
        lines += [f"  - name: service{i}", f"    address: 203.0.113.{i + 1}:80/tcp", "    slots: 10007", "    backends:"]
        lines += [f"      - {{address: 10.{i}.0.{k + 1}:80}}" for k in range(100)]
    with running(Metrics(tmp_path, "\n".join(lines) + "\n")) as instance:
        start = time.monotonic()
        samples = instance.samples()
        assert time.monotonic() - start < 2
        assert samples["sluice_backends_without_samples"] == 10100
        assert 'sluice_service_flows_total{service="service100"}' in samples
        assert not [name for name in samples if "backend=\"" in name]


def test_alerts_are_good_rules_and_name_what_there_is(sluice):
    for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(ALERTS.with_name("alerts_test.yaml"))]):
        judged = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout + judged.stderr
    _, _, body = sluice.get()
    families = set(re.findall(r"^# TYPE (\S+)", body, re.M))
    for expression in re.findall(r"expr: (.*(?:\n {10}.*)*)", ALERTS.read_text()):
        assert set(re.findall(r"sluice_[a-z0-9_]+", expression)) <= families, expression


def expressions(board):
    """(where, expression, names of labels in its legend) of a dashboard."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    for note in board["annotations"]["list"]:
        yield note["name"], note["expr"], []


def filled_in(expression):
    """As Grafana asks, all being chosen."""
    for word, value in (("$__rate_interval", "5m"), ("$__interval", "1m"), ("$instance", ".*"), ("$service", ".*")):
        expression = expression.replace(word, value)
    assert "$" not in expression, expression
    return expression


def test_the_dashboard_asks_for_what_there_is(sluice):
    _, _, body = sluice.get()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", body, re.M))
    labels = {}
    for name, inside in re.findall(r"^(sluice_[a-z0-9_]+)(?:\{(.*)\})? ", body, re.M):
        labels.setdefault(name, {"instance", "job"}).update(re.findall(r'(\w+)="', inside))
    for where, expression, legend in expressions(json.loads(DASHBOARD.read_text())):
        names = set(re.findall(r"sluice_[a-z0-9_]+", expression))
        assert names and names <= set(kinds), f"{where}: {names - set(kinds)}"
        # rate() of what only rises, and of all that does.
        rising = set(re.findall(r"\brate\((sluice_[a-z0-9_]+)", expression))
        assert all(kinds[name] == "counter" for name in rising), f"{where}: {expression}"
        used = set(re.findall(r"by \(([^)]*)\)", expression)) | {", ".join(legend)}
        used = {label for group in used for label in group.split(", ") if label} | set(re.findall(r"[{,] ?(\w+)(?:=~|!~|=)", expression))
        # What has no sample here, such as the time of a check that was not made, has its neighbours' labels.
        assert all(used <= labels.get(name, {*labels["sluice_backend_up"]}) for name in names), f"{where}: {used}"


def test_promtool_takes_the_dashboards_expressions(tmp_path):
    rules = [{"record": f"board:{i}", "expr": filled_in(expression)}
             for i, (_, expression, _) in enumerate(expressions(json.loads(DASHBOARD.read_text())))]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))  # JSON is YAML
    judged = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert judged.returncode == 0 and f"{len(rules)} rules found" in judged.stdout, judged.stdout + judged.stderr
    path.write_text(json.dumps({"groups": [{"name": "board", "rules": [{"record": "x", "expr": rules[0]["expr"] + ")"}]}]}))
    assert subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, check=False).returncode != 0


def test_the_dashboard_can_be_imported():
    board = json.loads(DASHBOARD.read_text())
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables == ["datasource", "instance", "service"] and board["schemaVersion"] >= 39
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
        assert panel["type"] == "row" or all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
