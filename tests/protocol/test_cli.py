# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The command `sluice`: against canned answers, and against sluiced with the memory dataplane."""

import contextlib
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from sluice_api import Sluice, find_program

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DONE, REFUSED, USAGE, NOT_CONNECTED = 0, 1, 2, 3
CHANGED = {"generation": 5, "applied": True, "dry_run": False, "n_changes": 1,
           "changes": [{"action": "set", "object": "backend", "text": "~ backend web changed"}]}
BACKEND = {"service": "web", "address": "10.0.0.2:8080", "weight": 1, "state": "ready",
           "role": "active", "in_use": True, "health": "up", "slots": 65537, "share": 1.0, "neighbour": True,
           "counters": {"flows": 3, "flows_ended": 1, "packets_in": 10, "bytes_in": 1000,
                        "packets_out": 9, "bytes_out": 900, "syns": 0, "syn_acks": 0, "refused": 0,
                        "unanswered": 0, "resets": 0, "syn_ack_us": 0}}
SERVICE = {"name": "web", "address": "203.0.113.10:80/tcp", "mode": "nat", "scheduler": "maglev",
           "source": [], "source_ports": None, "stateless_replies": True, "proxy_protocol": "none",
           "flow_log": False,
           "slots": 65537, "owner": "file", "backends": 1,
           "timeouts": {"established": 7440, "transitory": 240, "embryonic": 10, "udp": 300},
           "counters": {"flows": 3, "packets_in": 10, "bytes_in": 1000, "packets_out": 9,
                        "bytes_out": 900, "drops": 0}}
FULLNAT = {**SERVICE, "mode": "fullnat", "source": ["10.0.0.250", "10.0.0.251"],
           "source_ports": "1024-65535", "stateless_replies": False}
FULLNAT_BACKEND = {**BACKEND, "sources": [{"address": "10.0.0.250", "flows": 5, "ports": 64512},
                                          {"address": "10.0.0.251", "flows": 2, "ports": 64512}]}
FLOW = {"protocol": "tcp", "client": "198.51.100.7:40000", "service": "203.0.113.10:80",
        "source": "198.51.100.7:40000", "backend": "10.0.0.2:8080", "state": "established",
        "worker": 0, "idle_seconds": 1.5, "timeout_seconds": 7440.0}
ANSWERS = {
    "service.add": CHANGED, "service.set": CHANGED, "service.delete": CHANGED,
    "backend.add": CHANGED, "backend.set": CHANGED, "backend.delete": CHANGED,
    "config.apply": CHANGED, "config.rollback": {**CHANGED, "kept": False},
    "config.plan": {
        "generation": 4, "n_changes": 2, "counted": True, "tables_built": 1, "build_us": 90, "new_hash_key": False,
        "changes": [
            {"action": "set", "object": "service", "service": "web", "text": "~ service web slots 251 -> 1009"},
            {"action": "set", "object": "backend", "service": "web", "backend": "10.0.0.2:8080",
             "text": "~ backend web 10.0.0.2:8080 weight 1 -> 2", "fields": {"weight": {"old": 1, "new": 2}}}],
        "flows": {"stay": 7, "reset": 2, "move": 1, "off_pool": 0},
        "slots": {"after": 1009, "moved": 500}, "memory": {"now": 1048576, "after": 1200},
        "services": [
            {"name": "web", "address": "203.0.113.10:80/tcp", "mode": "nat", "change": "set",
             "slots": {"now": 251, "after": 1009, "moved": 500},
             "backends": {"now": 2, "after": 2, "usable_now": 2, "usable_after": 2},
             "flows": {"stay": 7, "reset": 2, "move": 1, "off_pool": 0},
             "backend": [{"address": f"10.0.0.{n}:8080", "change": "set" if n == 2 else "same",
                          "slots": {"now": 25, "after": 60, "left": 5, "came": 40},
                          "flows": {"stay": 7, "reset": 2, "move": 1, "off_pool": 0}}
                         for n in range(2, 15)]}],
        "warnings": [{"kind": "reset", "service": "web", "text": "service web: 2 flows end\x1b[2J"}]},
    "generation.list": {
        "generation": 7, "limit": 32,
        "current": {"services": 1, "backends": 3, "made": "2026-11-29T16:02:31Z", "since": 5, "n_changes": 2},
        "generations": [
            {"number": 5, "current": False, "made": "2026-11-29T15:44:02Z", "origin": "apply", "services": 1,
             "backends": 2, "bytes": 900},
            {"number": 3, "damage": "it is not as long as its first line says"}]},
    "generation.diff": {"generation": 7, "since": 5, "changes": CHANGED["changes"], "n_changes": 1},
    "config.diff": {"generation": 4, "changes": CHANGED["changes"], "n_changes": 1},
    "config.check": {"ok": True, "services": 1, "backends": 1},
    "config.export": {"text": "services: []\n"},
    "service.show": {"service": SERVICE, "backends": [BACKEND]},
    "service.list": {"services": [SERVICE, {**SERVICE, "name": "wiki"}]},
    "backend.list": {"backends": [BACKEND, {**BACKEND, "address": "10.0.0.3:8080"}]},
    "flow.list": {"flows": [FLOW], "truncated": True},
    "flow.count": {"flows": 3, "ipv4": 2, "ipv6": 1, "embryonic": 0, "capacity": 1048576},
    "affinity.list": {"affinities": [{"service": "web", "timeout": 300, "prefix": 24, "entries": 7}], "entries": 9,
                      "capacity": 65536},
    "affinity.clear": {"generation": 5, "applied": True, "dry_run": False, "entries": 7},
    "explain": {"verdict": "forward", "service": "web", "backend": "10.0.0.2:8080", "slot": 7,
                "hash": "00ff00ff00ff00ff", "existing_flow": False,
                "steps": [{"step": "parse", "text": "a tcp packet"}]},
    "counters": {"verdicts": {"forward": 7, "reply": 0}, "events": {"rx": 7}, "workers": []},
    "status": {"generation": 4, "digest": "00", "version": "0.1.0", "uptime_seconds": 93784,
               "services": 1, "backends": 1, "config_file": "/srv/sluice.yaml", "connected": True, "in_step": True,
               "engine": "memory", "engine_reason": "for tests", "dataplane_generation": 4,
               "flows": 3, "flows_capacity": 1048576, "reason": "",
               "ports": [{"name": "eth1", "driver": "net_af_xdp", "kernel_interface": "eth1",
                          "mac": "02:00:00:00:00:01", "up": True, "rx_packets": 7}],
               "workers": [{"core": 1, "loops": 9, "busy_loops": 1, "flows": 3,
                            "heartbeat_age_ms": 0, "longest_loop_us": 7}]},
    "methods": {"methods": [{"name": "status", "mutation": False, "params": [], "summary": "s"}],
                "errors": []},
}
# Command, the method it calls, its parameters, and what people see.
COMMANDS = [
    ("service add web 203.0.113.10:80/tcp slots 1009 timeout udp 9", "service.add",
     {"name": "web", "address": "203.0.113.10:80/tcp", "slots": 1009, "timeouts": {"udp": 9}},
     "generation 5, applied"),
    ("service add api 203.0.113.11:443/tcp mode fullnat source 10.0.0.250 source 10.0.0.251 "
     "source_ports 1024-65535 stateless_replies no", "service.add",
     {"name": "api", "address": "203.0.113.11:443/tcp", "mode": "fullnat",
      "source": ["10.0.0.250", "10.0.0.251"], "source_ports": "1024-65535",
      "stateless_replies": False}, "generation 5, applied"),
    ("service add office 10.0.0.0/16 source 203.0.113.200 deny_source 10.0.1.0/24 deny_source 10.0.2.7 "
     "deny_destination 192.168.0.0/16 flow_log yes", "service.add",
     {"name": "office", "address": "10.0.0.0/16", "source": ["203.0.113.200"],
      "deny_source": ["10.0.1.0/24", "10.0.2.7"], "deny_destination": ["192.168.0.0/16"],
      "flow_log": True}, "generation 5, applied"),
    ("service set office deny_destination none", "service.set",
     {"name": "office", "deny_destination": []}, "generation 5, applied"),
    ("service set web mode nat", "service.set", {"name": "web", "mode": "nat"}, "generation 5"),
    ("service delete web --dry-run", "service.delete", {"name": "web", "dry_run": True},
     "~ backend web changed"),
    ("service show web", "service.show", {"name": "web"}, "established 7440 s"),
    ("service list", "service.list", {}, "203.0.113.10:80/tcp"),
    ("backend add web 10.0.0.2:8080 weight 2", "backend.add",
     {"service": "web", "address": "10.0.0.2:8080", "weight": 2}, "generation 5"),
    ("backend set web 10.0.0.2:8080 state drain --if-generation 4", "backend.set",
     {"service": "web", "address": "10.0.0.2:8080", "state": "drain", "if_generation": 4},
     "generation 5"),
    ("backend delete web 10.0.0.2:8080", "backend.delete",
     {"service": "web", "address": "10.0.0.2:8080"}, "generation 5"),
    ("backend list web", "backend.list", {"service": "web"}, "100.00%"),
    ("flow list service web client 198.51.100.7 limit 1", "flow.list",
     {"service": "web", "client": "198.51.100.7", "limit": 1}, "there are more"),
    ("flow count", "flow.count", {}, "capacity      1048576"),
    ("affinity list web", "affinity.list", {"service": "web"}, "9 of 65536"),
    ("affinity clear web", "affinity.clear", {"service": "web"}, "ended         7"),
    ("affinity clear web --dry-run", "affinity.clear", {"service": "web", "dry_run": True}, "ended         7"),
    ("service set web affinity timeout 300 affinity prefix 24", "service.set",
     {"name": "web", "affinity": {"timeout": 300, "prefix": 24}}, "generation 5, applied"),
    ("explain tcp 198.51.100.7:40000 203.0.113.10:80", "explain",
     {"protocol": "tcp", "source": "198.51.100.7:40000", "destination": "203.0.113.10:80"},
     "verdict       forward"),
    ("counters", "counters", {}, "client to backend, rewritten and sent"),
    ("counters service web all", "counters", {"service": "web"}, "reply"),
    ("status", "status", {}, "1d 02:03:04"),
    ("check {file} live", "config.check", {"text": "services: []\n", "file": "{file}"}, "ok"),
    ("diff {file}", "config.diff", {"text": "services: []\n", "file": "{file}"},
     "~ backend web changed"),
    ("plan {file}", "config.plan", {"text": "services: []\n", "file": "{file}"},
     "10.0.0.2:8080   weight 1 -> 2     25     60      5    40     7      2     1"),
    ("apply {file}", "config.apply", {"text": "services: []\n", "file": "{file}"},
     "generation 5, applied"),
    ("rollback 3", "config.rollback", {"generation": 3}, "applied; cannot be gone back to"),
    ("generation list", "generation.list", {}, "damaged: it is not as long as"),
    ("generation list", "generation.list", {},
     '  7  2026-11-29T16:02:31Z  changes         1         3  current: 2 changes since 5, see "generation diff 5"'),
    ("generation diff 5", "generation.diff", {"generation": 5}, "~ backend web changed"),
    ("export", "config.export", {}, "services: []"),
    ("methods", "methods", {}, "METHOD"),
]


class FakeDaemon:
    """Answers each line with what ANSWERS says, and remembers what it was asked."""

    def __init__(self, path):
        self.path = path
        self.requests = []
        self.answer = None  # bytes instead of a canned answer; b"" closes
        self.delay = 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                line = connection.makefile("rb").readline()
                if line:
                    time.sleep(self.delay)
                    self.reply(connection, json.loads(line))

    def reply(self, connection, request):
        self.requests.append(request)
        answer = self.answer
        if answer is None:
            result = ANSWERS[request["method"]]
            document = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            answer = json.dumps(document).encode() + b"\n"
        try:
            connection.sendall(answer)
        except OSError:
            pass

    def refuse(self, code, message, **data):
        document = {"jsonrpc": "2.0", "id": 1,
                    "error": {"code": code, "message": message, "data": data}}
        self.answer = json.dumps(document).encode() + b"\n"

    def close(self):
        """The thread ends first: on its way to accept(), it would else take the descriptor's next owner for its listener."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


@pytest.fixture
def fake(tmp_path):
    daemon = FakeDaemon(tmp_path / "control.sock")
    yield daemon
    daemon.close()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "new.yaml"
    path.write_text("services: []\n")
    return path


def run(*words, socket_path=None, text=None, **environment):
    """One call of sluice: (exit code, stdout, stderr)."""
    command = [find_program("sluice")]
    if socket_path:
        command += ["-s", str(socket_path)]
    clean = {k: v for k, v in os.environ.items() if k != "SLUICE_SOCKET"}
    done = subprocess.run(command + [str(word) for word in words], input=text, timeout=60,
                          capture_output=True, text=True, env={**clean, **environment})
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line,method,params,part", COMMANDS, ids=[row[0] for row in COMMANDS])
def test_a_command_calls_its_method_and_shows_the_answer(fake, config, line, method, params, part):
    preamble = "dataplane:\n  ports:\n    - vdev: net_null0\n"
    config.write_text(preamble + "services: []\n")
    words = line.replace("{file}", str(config)).split()
    wanted = {k: str(config) if v == "{file}" else preamble + v if k == "text" else v
              for k, v in params.items()}
    code, out, err = run(*words, socket_path=fake.path)
    assert (code, err) == (DONE, "")
    assert part in out
    assert [(r["method"], r["params"]) for r in fake.requests] == [(method, wanted)]
    code, out, err = run("-j", *words, socket_path=fake.path)
    assert (code, err) == (DONE, "")
    assert json.loads(out) == ANSWERS[method]
    assert out.count("\n") == 1


def test_a_plan_is_told_from_its_sum_to_its_warnings(fake, config):
    out = run("plan", config, socket_path=fake.path)[1].splitlines()
    assert out[:4] == ["generation 4: 2 changes, 1 service; nothing was changed",
                       "flows         7 stay, 2 reset, 1 move", "slots         500 of 1009 move",
                       "memory        1.0 MiB now, 1.2 KiB after; 1 table built"]
    assert out[5] == ("~ service web 203.0.113.10:80/tcp, 49.6 % of the slots move, "
                      "flows: 7 stay, 2 reset, 1 move")
    assert out[6] == "slots 251 -> 1009"
    assert sum(line.startswith("10.0.0.") for line in out) == 9, "those that change, and eight more"
    assert "... and 4 more that are the same but for their slots" in out
    assert out[-1] == "warning: service web: 2 flows end\\x1b[2J"


def test_every_method_has_a_command():
    assert {row[1] for row in COMMANDS} == set(ANSWERS)


def test_a_refusal_is_told_with_object_value_and_limit(fake):
    fake.refuse(-32602, "backend.set: weight is 70000, must be 0..65535", field="weight",
                value="70000", limit="0..65535")
    words = ["backend", "set", "web", "10.0.0.2:8080", "weight", "7"]
    code, out, err = run(*words, socket_path=fake.path)
    assert (code, out) == (REFUSED, "")
    assert err == "sluice: backend.set: weight is 70000, must be 0..65535\n"
    code, out, err = run("-j", *words, socket_path=fake.path)
    assert code == REFUSED
    assert json.loads(out) == {"error": {
        "code": -32602, "message": "backend.set: weight is 70000, must be 0..65535",
        "data": {"field": "weight", "value": "70000", "limit": "0..65535"}}}


def test_wrong_usage_names_the_word_and_shows_the_usage_line():
    code, out, err = run("backend", "add", "web", "10.0.0.2:80", "speed", "3")
    assert (code, out) == (USAGE, "")
    assert '"speed": no such keyword, known are: weight, max_flows' in err
    assert "usage: sluice backend add SERVICE ADDR:PORT [weight N]" in err
    code, out, err = run("--json", "backend", "add", "web", "10.0.0.2:80", "weight", "many")
    assert code == USAGE
    assert json.loads(out)["error"]["data"] == {"field": "weight", "value": "many",
                                                "limit": "a whole number"}


@pytest.mark.parametrize("words, part", [
    (["zervice", "list"], 'did you mean "service"?'),
    (["services"], 'did you mean "service"?'),
    (["backend", "lst"], 'did you mean "list"?'),
    (["service", "remove"], "known are: add, "),
    (["balance"], "known are: service, "),
])
def test_a_mistyped_command_is_guessed_if_it_is_near(words, part):
    code, _, err = run(*words)
    assert code == USAGE and part in err
    assert ("did you mean" in err) == ("did you mean" in part)


def test_a_value_below_zero_is_no_option():
    code, _, err = run("backend", "set", "web", "10.0.0.2:80", "weight", "-1")
    assert code == USAGE and "-1: no value of sluice's is below 0" in err


def test_wait_asks_until_it_is_so(fake):
    words = "backend wait web 10.0.0.2:8080 state up".split()
    assert run(*words, socket_path=fake.path) == (DONE, "web: 10.0.0.2:8080: up\n", "")
    assert [(r["method"], r["params"]) for r in fake.requests] == [("backend.list", {"service": "web"})]
    code, out, err = run("-j", *words, socket_path=fake.path)
    assert (code, json.loads(out), err) == (DONE, BACKEND, "")
    fake.requests.clear()
    code, out, err = run(*"backend wait web 10.0.0.2:8080 state down timeout 1".split(), socket_path=fake.path)
    assert (code, out) == (REFUSED, "") and "10.0.0.2:8080: is not down after 1 s: health up" in err
    assert len(fake.requests) > 3


@pytest.mark.parametrize("line, code, words", [
    ("backend wait web 10.0.0.2:8080", REFUSED, ["state ready: it takes new flows"]),
    ("backend wait web 10.0.0.9:8080 state up", REFUSED, ["10.0.0.9:8080", "there is no such backend"]),
    ("backend wait web 10.0.0.2:8080 state gone", USAGE, ["gone", "drained|up|down"]),
    ("backend wait web 10.0.0.2:8080 timeout 0", USAGE, ["timeout", "0", "1..86400"]),
    ("backend wait web 10.0.0.2:8080 timeout 1h", USAGE, ["timeout", "1h", "a whole number"]),
    ("backend wait web", USAGE, ["ADDR:PORT is missing"]),
])
def test_wait_refuses_what_cannot_be(fake, line, code, words):
    said = run(*line.split(), socket_path=fake.path)
    assert said[:2] == (code, "") and all(word in said[2] for word in words), said


@pytest.fixture
def host(tmp_path):
    """A made-up host for `doctor root`: enough for DPDK on a virtual device, but for hugepages."""
    root = tmp_path / "root"
    for name, text in {"proc/meminfo": "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n",
                       "sys/devices/system/cpu/online": "0-3\n", "dev/net/tun": ""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def doctor(config, host, text, *words):
    config.write_text(text)
    code, out, err = run("-j", "-c", config, "doctor", "root", host, *words)
    assert err == ""
    result = json.loads(out)
    assert sum(result["counts"].values()) == len(result["findings"])
    return code, result, {finding["check"]: finding for finding in result["findings"]}


def test_doctor_needs_no_daemon_and_exits_by_what_is_worst(config, host):
    dpdk = "run_dir: /nonexistent\ndataplane:\n  engine: dpdk\n  hugepages: {}\n  ports:\n    - vdev: net_null0\n"
    code, result, found = doctor(config, host, dpdk.format("on"))
    assert (code, result["engine"], found["hugepages"]["verdict"]) == (REFUSED, "dpdk", "fault")
    assert found["hugepages"]["command"] == "sysctl -w vm.nr_hugepages=160"
    assert found["kernel.version"]["verdict"] == "unknown" and "No such file" in found["kernel.version"]["found"]
    code, result, found = doctor(config, host, dpdk.format("auto"))
    assert (code, found["hugepages"]["verdict"]) == (REFUSED, "warning")
    (host / "sys/devices/system/clocksource/clocksource0").mkdir(parents=True)
    (host / "sys/devices/system/clocksource/clocksource0/current_clocksource").write_text("tsc\n")
    code, result, found = doctor(config, host, dpdk.format("off"))
    assert (code, found["hugepages"]["verdict"]) == (DONE, "note"), result


def test_doctor_shows_the_worst_first_and_what_is_good_on_demand(config, host):
    config.write_text("dataplane:\n  engine: dpdk\n  hugepages: on\n  ports:\n    - vdev: net_null0\n")
    code, out, err = run("-c", config, "doctor", "root", host)
    assert (code, err) == (REFUSED, "")
    assert out.startswith("fault    hugepages  host: 0 of 2048 KiB free; wanted: 160")
    assert "mend: sysctl -w vm.nr_hugepages=160\n" in out and "\ngood " not in out
    assert out.splitlines()[-1].startswith("1 fault, ") and out.endswith("; engine dpdk\n")
    assert f"good     config  {config}: is read\n" in run("-c", config, "doctor", "all", "root", host)[1]


def test_doctor_tells_of_a_configuration_that_is_none(config, host):
    code, result, found = doctor(config, host, "dataplane:\n  engine: ipvs\n")
    assert (code, result["engine"]) == (REFUSED, None)
    assert f"{config}:2:11: dataplane.engine" in found["config"]["found"]
    assert found["config"]["command"] == f"sluice check {config}"
    assert run("-c", config, "doctor", "everything")[0] == USAGE


def test_doctor_hears_the_daemon_if_it_answers(fake, config):
    config.write_text("dataplane:\n  engine: dpdk\n  ports:\n    - vdev: net_null0\n")
    found = {f["check"]: f for f in json.loads(run("-j", "-c", config, "doctor", socket_path=fake.path)[1])["findings"]}
    assert found["daemon"]["verdict"] == found["daemon.step"]["verdict"] == "good"
    assert (found["daemon.engine"]["verdict"], found["daemon.engine"]["found"]) == ("warning", "memory")
    config.unlink()  # sluiced reads another one
    found = {f["check"]: f for f in json.loads(run("-j", "-c", config, "doctor", socket_path=fake.path)[1])["findings"]}
    assert found["config"]["command"].startswith("sluice doctor -c /srv/sluice.yaml ")
    config.write_text("dataplane:\n  engine: dpdk\n  ports:\n    - vdev: net_null0\n")
    fake.answer = b""
    found = {f["check"]: f for f in json.loads(run("-j", "-c", config, "doctor", socket_path=fake.path)[1])["findings"]}
    assert found["daemon"]["verdict"] == "note" and "closed without an answer" in found["daemon"]["found"]
    assert "daemon.step" not in found


def test_no_words_show_the_usage_and_version_and_help_do_not_fail():
    assert run()[0] == USAGE
    assert run("--version")[:2] == (DONE, "sluice " + run("--version")[1].split()[1] + "\n")
    for words in (["help"], ["-h"], ["service", "help"], ["help", "service", "add"],
                  ["status", "--help"], ["flow", "list", "-h"]):
        code, out, err = run(*words)
        assert (code, err) == (DONE, "") and out.startswith("usage: sluice")


def test_no_daemon_names_the_socket_and_the_reason(tmp_path):
    path = tmp_path / "none.sock"
    code, out, err = run("status", socket_path=path)
    assert (code, out) == (NOT_CONNECTED, "")
    assert f"{path}: connect: No such file or directory (is sluiced running?" in err
    code, out, err = run("-j", "status", socket_path=path)
    assert code == NOT_CONNECTED
    assert json.loads(out)["error"]["data"] == {"field": "socket", "value": str(path)}
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert "Connection refused" in run("status", socket_path=path)[2]
    code, _, err = run("status", socket_path="/" + "x" * 200)
    assert code == NOT_CONNECTED and "107 bytes" in err


@pytest.mark.parametrize("answer,part", [
    (b"", "closed without an answer"),
    (b"half", "closed without an answer"),
    (b"nonsense\n", "is this sluiced's socket?"),
    (b"[]\n", "no JSON-RPC 2.0 response"),
    (b'{"jsonrpc":"2.0","id":1}\n', "no JSON-RPC 2.0 response"),
    (b'{"jsonrpc":"2.0","id":1,"error":{}}\n', "no JSON-RPC 2.0 response"),
    (b"[" * 100 + b"\n", "depth"),
    (b"\xff\xfe\n", "document"),
])
def test_what_is_no_answer_is_no_connection(fake, answer, part):
    fake.answer = answer
    code, out, err = run("status", socket_path=fake.path)
    assert (code, out) == (NOT_CONNECTED, "")
    assert part in err


def test_results_of_another_shape_do_no_harm(fake):
    for result in ({}, [], None, 5, "x", {"services": [1], "backends": {}, "flows": "x"}):
        document = {"jsonrpc": "2.0", "id": 1, "result": result}
        fake.answer = json.dumps(document).encode() + b"\n"
        for line in ("status", "service list", "service show a", "backend list", "flow list",
                     "flow count", "counters", "export", "methods", "service delete a"):
            assert run(*line.split(), socket_path=fake.path)[0] == DONE


def test_control_characters_from_the_wire_are_escaped(fake):
    fake.answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {
        "services": [{**SERVICE, "name": "\x1b]0;owned\x07"}]}}).encode() + b"\n"
    out = run("service", "list", socket_path=fake.path)[1]
    assert "\x1b" not in out and "\\x1b]0;owned\\x07" in out
    fake.refuse(-32004, "no \x1b[2J such")
    err = run("service", "list", socket_path=fake.path)[2]
    assert "\x1b" not in err and "no \\x1b[2J such" in err


def test_a_slow_daemon_is_left_after_the_timeout(fake):
    fake.delay = 5
    begin = time.monotonic()
    code, _, err = run("--timeout", "1", "status", socket_path=fake.path)
    assert code == NOT_CONNECTED and "no answer in time" in err
    assert time.monotonic() - begin < 4


def test_a_terminal_is_told_that_we_wait(fake, config):
    fake.delay = 3.2
    master, slave = pty.openpty()
    done = subprocess.run([find_program("sluice"), "-s", str(fake.path), "apply", str(config)],
                          stdout=subprocess.PIPE, stderr=slave, timeout=30, check=False)
    os.close(slave)
    shown = ""
    with contextlib.suppress(OSError):  # that it is closed at the other end; what was said before comes first
        while True:
            shown += os.read(master, 4096).decode()
    os.close(master)
    assert done.returncode == DONE and b"generation 5, applied" in done.stdout
    assert "waiting for sluiced ... 2s" in shown and shown.endswith("\r")


def test_a_large_answer_and_a_large_request(fake, tmp_path):
    many = [{**BACKEND, "address": f"10.{i >> 8}.{i & 255}.1:80"} for i in range(20000)]
    document = {"jsonrpc": "2.0", "id": 1, "result": {"backends": many}}
    fake.answer = json.dumps(document).encode() + b"\n"
    code, out, _ = run("backend", "list", socket_path=fake.path)
    assert code == DONE and out.count("\n") == 20001
    big = tmp_path / "big.yaml"
    big.write_text("# " + ("x" * 1000 + "\n# ") * 33554)
    code, _, err = run("apply", big, socket_path=fake.path)
    assert code == REFUSED and "has more than 16777216 bytes" in err


def test_the_socket_is_found_by_option_configuration_and_environment(fake, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(f"run_dir: {tmp_path}\ndataplane:\n  ports:\n    - vdev: net_null0\n")
    assert run("-c", path, "status")[0] == DONE
    assert run("status", SLUICE_SOCKET=str(fake.path))[0] == DONE
    assert run("-c", path, "status", SLUICE_SOCKET="/nonexistent")[0] == DONE
    assert run("-s", "/nonexistent", "-c", path, "status")[0] == NOT_CONNECTED
    code, _, err = run("-c", tmp_path / "none.yaml", "status")
    assert code == REFUSED and "none.yaml" in err


def test_a_closed_pipe_is_a_refusal_and_no_crash(fake):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([find_program("sluice"), "-s", str(fake.path), "status"], stdout=write,
                          stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode in (REFUSED, -13)


GOOD = """dataplane:
  ports:
    - interface: eth1
services:
  - name: web
    address: 203.0.113.10:80/tcp
    backends:
      - {address: 10.0.0.2:8080}
"""


def test_check_needs_no_daemon(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert run("check", path)[:2] == (DONE, f"{path}: ok (services: 1, backends: 1)\n")
    assert run("check", "-", text=GOOD)[:2] == (DONE, "(stdin): ok (services: 1, backends: 1)\n")
    answer = json.loads(run("-j", "check", path)[1])
    assert answer["ok"] and answer["services"] == 1 and answer["backends"] == 1


@pytest.mark.parametrize("old,new,place", [
    ("name: web", "title: web", "5:5"),
    ("10.0.0.2:8080", "10.0.0.2", "8:"),
    ("/tcp", "/sctp", "6:"),
    ("services:", "services: [", ""),
    ("{address: 10.0.0.2:8080}", "{address: 10.0.0.2:8080, weight: 70000}", "8:"),
])
def test_check_names_file_line_and_column(tmp_path, old, new, place):
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace(old, new))
    code, out, err = run("check", path)
    assert (code, out) == (REFUSED, "")
    assert err.startswith(f"{path}:{place}"), err
    code, out, _ = run("-j", "check", path)
    assert code == REFUSED
    assert json.loads(out)["error"]["message"] in err


def test_check_refuses_what_is_no_text(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert run("check", path)[0] == REFUSED
    assert run("check", tmp_path)[0] == REFUSED
    assert run("check", tmp_path / "none")[0] == REFUSED
    path.write_bytes(b"#" * (16777216 + 1))
    code, _, err = run("check", path)
    assert code == REFUSED and "16777216" in err


# Mode fullnat

def answer_with(fake, result):
    fake.answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode() + b"\n"


def test_source_ports_are_a_column_where_a_service_has_them(fake):
    out = run("backend", "list", socket_path=fake.path)[1]
    assert "SOURCE-PORTS" not in out
    answer_with(fake, {"backends": [BACKEND, FULLNAT_BACKEND]})
    head, nat, fullnat = [line.split() for line in
                          run("backend", "list", socket_path=fake.path)[1].splitlines()]
    place = head.index("SOURCE-PORTS")
    assert fullnat[place] == "7/129024" and len(fullnat) == len(head)
    assert "/" not in "".join(nat[place:])
    listed = json.loads(run("-j", "backend", "list", socket_path=fake.path)[1])
    assert listed["backends"][1]["sources"] == FULLNAT_BACKEND["sources"]


def test_how_syns_are_answered_is_shown_once_there_were_some(fake):
    out = run("backend", "list", socket_path=fake.path)[1]
    assert "SYN-ACK" not in out
    quick, bad = ({**BACKEND, "address": f"10.0.0.{i}:8080", "counters": {**BACKEND["counters"], **more}}
                  for i, more in ((2, {"syns": 4, "syn_acks": 4, "syn_ack_us": 5000}),
                                  (3, {"syns": 9, "refused": 3, "unanswered": 3, "syn_acks": 2, "syn_ack_us": 10})))
    answer_with(fake, {"backends": [quick, bad, BACKEND]})
    head, *rows = [line.split() for line in run("backend", "list", socket_path=fake.path)[1].splitlines()]
    place = head.index("SYN-ACK")
    assert head[place:place + 2] == ["SYN-ACK", "FAILED"]
    assert rows[0][place:place + 3] == ["1.250", "ms", "0.00%"]
    assert rows[1][place:place + 3] == ["0.005", "ms", "75.00%"]
    assert "%" not in "".join(rows[2][place:]) and "ms" not in rows[2]


def test_a_fullnat_service_is_shown_with_its_pool(fake):
    answer_with(fake, {"service": FULLNAT, "backends": [FULLNAT_BACKEND]})
    out = run("service", "show", "web", socket_path=fake.path)[1]
    for line in ("mode          fullnat", "source        10.0.0.250, 10.0.0.251",
                 "source ports  1024-65535", "stateless     no", "proxy         none", "flow log      no"):
        assert line in out.splitlines()


def test_a_deny_list_is_shown_in_part_and_in_whole_with_j(fake):
    few = ["10.0.1.0/24", "10.0.2.7/32"]
    many = [f"198.51.{i}.0/24" for i in range(100)]
    answer_with(fake, {"service": {**SERVICE, "mode": "snat", "deny_source": few,
                                   "deny_destination": many, "flow_log": True}, "backends": []})
    out = run("service", "show", "office", socket_path=fake.path)[1]
    for line in ("deny source   10.0.1.0/24, 10.0.2.7/32",
                 "deny dest.    " + ", ".join(many[:8]) + " and 92 more", "flow log      yes"):
        assert line in out.splitlines()
    shown = json.loads(run("-j", "service", "show", "office", socket_path=fake.path)[1])["service"]
    assert shown["deny_source"] == few and shown["deny_destination"] == many
    answer_with(fake, {"service": {**SERVICE, "deny_source": [], "deny_destination": []},
                       "backends": []})
    assert "deny" not in run("service", "show", "web", socket_path=fake.path)[1]


# Completion: the script is sourced, the line is what the user has typed.

def complete(fake, line, folder=None):
    script = """
        eval "$("$1" completion bash)" || exit 9
        COMP_LINE=$2 COMP_POINT=${#2}
        _sluice
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    program = find_program("sluice")
    line = line.replace("sluice", program, 1)
    done = subprocess.run(["bash", "-c", script, "-", program, line], capture_output=True,
                          text=True, timeout=60, check=False, cwd=folder,
                          env={**os.environ, "SLUICE_SOCKET": str(fake.path)})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


NOUNS = ["service", "backend", "flow", "affinity", "explain", "capture", "counters", "top", "events", "status", "check", "doctor", "diff", "plan",
         "apply", "rollback", "generation", "export", "methods", "shell", "completion", "help"]


COMPLETED = [
    ("sluice ", NOUNS),
    ("sluice s", ["service", "status", "shell"]),
    ("sluice service ", ["add", "set", "delete", "show", "list", "help"]),
    ("sluice service s", ["set", "show"]),
    ("sluice serv s", ["set", "show"]),
    ("sluice s s", []),
    ("sluice -j -s {socket} service s", ["set", "show"]),
    ("sluice help back", ["backend"]),
    ("sluice help backend s", ["set"]),
    ("sluice service show ", ["web", "wiki"]),
    ("sluice service show wi", ["wiki"]),
    ("sluice -s /nonexistent service show ", []),
    ("sluice service add ", []),
    ("sluice service add web 1.2.3.4:5/tcp ", 
     ["mode", "scheduler", "source", "source_ports", "deny_source", "deny_destination",
      "stateless_replies", "proxy_protocol", "flow_log", "slots", "timeout", "check", "affinity"]),
    ("sluice service add web 1.2.3.4:5/tcp mode ", ["nat", "fullnat", "snat"]),
    ("sluice service add web 1.2.3.4:5/tcp stateless_replies ", ["yes", "no"]),
    ("sluice service add web 1.2.3.4:5/tcp flow_log ", ["yes", "no"]),
    ("sluice service add web 1.2.3.4:5/tcp proxy_protocol ", ["none", "v2"]),
    ("sluice service set web source_ports ", []),
    ("sluice service set web deny_", ["deny_source", "deny_destination"]),
    ("sluice service set web deny_source ", []),
    ("sluice service set web deny_source 10.0.0.0/8 de", ["deny_source", "deny_destination"]),
    ("sluice service add web 1.2.3.4:5/tcp mode nat t", ["timeout"]),
    ("sluice service add web 1.2.3.4:5/tcp timeout ",
     ["established", "transitory", "embryonic", "udp"]),
    ("sluice service add web 1.2.3.4:5/tcp timeout udp ", []),
    ("sluice service add web 1.2.3.4:5/tcp timeout udp 5 m", ["mode"]),
    ("sluice backend set web ", ["10.0.0.2:8080", "10.0.0.3:8080"]),
    ("sluice backend wait web ", ["10.0.0.2:8080", "10.0.0.3:8080"]),
    ("sluice backend wait web 10.0.0.2:8080 ", ["state", "timeout"]),
    ("sluice backend wait web 10.0.0.2:8080 state ", ["drained", "up", "down"]),
    ("sluice backend set web 10.0.0.3", ["10.0.0.3:8080"]),
    ("sluice backend set web 10.0.0.3:80", ["8080"]),
    ("sluice backend set web 10.0.0.2:8080 ", ["weight", "max_flows", "state", "role", "group"]),
    ("sluice backend set web 10.0.0.2:8080 role ", ["active", "backup", "sorry"]),
    ("sluice service set web canary ", ["group", "share_percent", "sources"]),
    ("sluice service set web affinity ", ["timeout", "prefix"]),
    ("sluice affinity clear w", ["web", "wiki"]),
    ("sluice backend set web 10.0.0.2:8080 state ", ["ready", "drain", "maint"]),
    ("sluice backend list w", ["web", "wiki"]),
    ("sluice flow list service w", ["web", "wiki"]),
    ("sluice flow list service web l", ["limit"]),
    ("sluice counters ", ["service", "all"]),
    ("sluice counters all s", ["service"]),
    ("sluice explain ", ["tcp", "udp"]),
    ("sluice doctor ", ["all", "root"]),
    ("sluice top ", ["service", "interval", "count", "sort", "reverse", "filter"]),
    ("sluice top service w", ["web", "wiki"]),
    ("sluice top sort bits_", ["bits_in", "bits_out"]),
    ("sluice completion ", ["bash"]),
    ("sluice rollback ", ["5", "3"]),
    ("sluice nothing ", []),
    ("sluice --dr", ["--dry-run"]),
    ("sluice status --js", ["--json"]),
]


@pytest.mark.parametrize("line,wanted", COMPLETED)
def test_completion(fake, line, wanted):
    assert complete(fake, line.replace("{socket}", str(fake.path))) == wanted


@pytest.mark.parametrize("line,wanted", [row for row in COMPLETED if "/nonexistent" not in row[0]])
def test_completion_of_the_shell_is_that_of_bash(line, wanted):
    words = line.split(" ")[1:]
    done = subprocess.run([find_program("candidates-driver"), *words], capture_output=True, text=True, check=True)
    # bash splits words at colons, and completes what follows the last one.
    begun = words[-1].rpartition(":")[0]
    assert done.stdout.splitlines() == [f"{begun}:{word}" if begun else word for word in wanted]


def test_completion_of_files_runs_nothing(fake, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.yaml").touch()
    (folder / "$(touch owned)").touch()
    assert "a.yaml" in complete(fake, "sluice check ", folder)
    assert complete(fake, "sluice apply a", folder) == ["a.yaml"]
    assert not (folder / "owned").exists()


def test_completion_of_hostile_names_runs_nothing(fake, tmp_path):
    document = {"jsonrpc": "2.0", "id": 1, "result": {
        "services": [{"name": "$(touch owned)"}, {"name": "*"}, {"name": "web"}]}}
    fake.answer = json.dumps(document).encode() + b"\n"
    assert "web" in complete(fake, "sluice service show ", tmp_path)
    assert not (tmp_path / "owned").exists()


def test_the_completion_script_is_clean_bash(tmp_path):
    script = tmp_path / "sluice.bash"
    script.write_text(run("completion", "bash")[1])
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", str(script)], check=True)


# Manual pages

PAGES = ["sluice.1", "sluiced.8", "sluice-dpdk.8", "sluice.yaml.5"]


def test_the_manual_page_is_what_the_table_says():
    printed = subprocess.run([find_program("gen-man")], capture_output=True, text=True,
                             check=True).stdout
    assert (SOURCE / "docs/man/sluice.1").read_text() == printed, \
        "stale: run gen-man > docs/man/sluice.1"


@pytest.mark.parametrize("page", PAGES)
def test_manual_pages_are_clean(page):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", SOURCE / "docs/man" / page],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# The real programs

WEB = """services:
  - name: web
    address: 203.0.113.10:80/tcp
    backends:
      - {address: 10.0.0.2:8080, weight: 1}
      - {address: 10.0.0.3:8080, weight: 2}
"""


@pytest.fixture
def real(tmp_path):
    try:
        find_program("sluiced")
        find_program("sluice-memory")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    instance = Sluice(tmp_path, WEB)
    instance.start_dataplane()
    instance.start_daemon()
    try:
        instance.await_step()
        yield instance
    finally:
        instance.stop()


def test_real_every_reading_command(real):
    for line in ("status", "service list", "service show web", "backend list", "backend list web",
                 "flow list", "flow list service web client 198.51.100.7:80 limit 3", "flow count",
                 "flow count service web", "affinity list", "explain tcp 198.51.100.7:4000 203.0.113.10:80",
                 "counters", "counters all", "counters service web", "export", "methods",
                 f"check {real.config} live", f"diff {real.config}"):
        code, out, err = run("-c", real.config, *line.split())
        assert (code, err) == (DONE, "") and out, line
        code, out, err = run("-c", real.config, "-j", *line.split())
        assert (code, err) == (DONE, "") and isinstance(json.loads(out), dict), line


def test_real_tables_miss_nothing(real):
    """Each cell of the tables has its member in the real answers."""
    for line, n_empty in (("service list", 0), ("backend list", 0), ("service show web", 0),
                          ("status", 0)):
        out = run("-c", real.config, *line.split())[1]
        assert sum(row.split().count("-") for row in out.splitlines()) == n_empty, out


def test_real_changes(real):
    def sluice(line):
        return run("-c", real.config, *line.split())

    assert sluice("service add dns 203.0.113.53:53/udp timeout udp 30")[0] == DONE
    assert sluice("backend add dns 10.0.0.9:53 weight 3")[0] == DONE
    code, out, _ = sluice("backend set dns 10.0.0.9:53 state drain --dry-run")
    assert code == DONE and "ready -> drain" in out and "nothing was changed" in out
    code, out, _ = sluice("backend set dns 10.0.0.9:53 state drain")
    assert code == DONE and ", applied" in out
    assert "drain" in sluice("backend list dns")[1]
    assert sluice("service set dns slots 1009")[0] == DONE
    assert json.loads(sluice("-j service show dns")[1])["service"]["slots"] == 1009
    assert sluice("backend delete dns 10.0.0.9:53")[0] == DONE
    assert sluice("service delete dns")[0] == DONE
    assert sluice("service list")[1].count("\n") == 2


def test_real_refusals(real):
    for line, part in (("service show nope", "service nope"),
                       ("service set web slots 1009", "service web: owned by"),
                       ("service add web 203.0.113.11:80/tcp", "web"),
                       ("service add two 203.0.113.10:80/tcp", "203.0.113.10:80/tcp"),
                       ("service add two 203.0.113.11:80/tcp slots 65536", "65536"),
                       ("backend set web 10.0.0.7:8080 weight 3", "10.0.0.7:8080"),
                       ("backend add web 10.0.0.2:8080", "10.0.0.2:8080"),
                       ("backend set web 10.0.0.2:8080 weight 3 --if-generation 999", "999")):
        code, out, err = run("-c", real.config, *line.split())
        assert (code, out) == (REFUSED, ""), line
        assert part in err, err
        code, out, _ = run("-c", real.config, "-j", *line.split())
        assert code == REFUSED and json.loads(out)["error"]["message"] in err


def test_real_apply_export_and_diff_agree(real, tmp_path):
    new = tmp_path / "new.yaml"
    new.write_text(real.config.read_text().replace("weight: 2", "weight: 5"))
    code, out, _ = run("-c", real.config, "diff", new)
    assert code == DONE and "weight 2 -> 5" in out
    code, out, _ = run("-c", real.config, "apply", new)
    assert code == DONE and "weight 2 -> 5" in out and ", applied" in out
    assert run("-c", real.config, "diff", new)[1] == "no difference\n"
    exported = tmp_path / "exported.yaml"
    exported.write_text(real.preamble() + run("-c", real.config, "export")[1])
    assert run("check", exported)[0] == DONE
    assert run("-c", real.config, "diff", exported)[1] == "no difference\n"
    new.write_text(new.read_text().replace("weight: 5", "weight: many"))
    code, _, err = run("-c", real.config, "apply", new)
    assert code == REFUSED and f"{new}:" in err


def test_real_problems_of_a_file_are_a_line_each(real, tmp_path):
    new = tmp_path / "new.yaml"
    new.write_text(real.config.read_text().replace("weight: 2", "weight: many").replace("weight: 1", "heft: 1"))
    code, _, err = run("-c", real.config, "apply", new)
    lines = err.splitlines()
    assert code == REFUSED and len(lines) == 2, err
    assert all(line.startswith(f"sluice: {new}:") for line in lines)


def test_real_another_file_is_applied_with_a_note(real, tmp_path):
    """The daemon's own file says something else, and comes back."""
    new = tmp_path / "new.yaml"
    new.write_text(real.config.read_text().replace("weight: 2", "weight: 5"))
    assert run("-c", real.config, "apply", new, "--dry-run")[2] == ""
    code, _, err = run("-c", real.config, "apply", new)
    assert code == DONE and err.startswith(f"sluice: {real.config}, which sluiced reads") and err.count("\n") == 1
    code, out, err = run("-c", real.config, "-j", "apply", new)
    assert (code, err) == (DONE, "") and str(real.config) in json.loads(out)["note"]
    code, out, err = run("-c", real.config, "apply", real.config)
    assert code == DONE and "weight 5 -> 2" in out and err == ""


def test_real_a_reload_that_is_refused_names_each_problem_in_a_line(real):
    real.config.write_text(real.config.read_text().replace("weight: 2", "weight: many").replace("weight: 1", "heft: 1"))
    real.programs["sluiced"].send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while "unknown key" not in real.log.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    lines = [line for line in real.log.read_text().splitlines() if "error: " in line]
    assert len(lines) == 3 and lines[0].endswith("not reloaded, nothing has changed:"), lines
    assert all(line.startswith(f"sluiced: error: {real.config}:") for line in lines)


def test_real_without_a_dataplane(real):
    real.kill("sluice-memory")
    end = time.monotonic() + 20
    while "not answering for" not in run("-c", real.config, "status")[1]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert run("-c", real.config, "service", "list")[0] == DONE
    assert run("-c", real.config, "flow", "count")[0] == REFUSED
    code, out, _ = run("-c", real.config, "service", "add", "x", "203.0.113.9:1/tcp")
    assert code == DONE and "the dataplane does not have it yet" in out
