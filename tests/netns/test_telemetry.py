# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""DPDK's telemetry socket tells what the command line tells, and is there only if it was asked for."""
import json
import os
import signal
import socket
import threading

import pytest

import topology
from test_changing_workers import cores_of_others

MORE_CONFIG = ["  telemetry: true"]
FIGURES = ("flows", "packets_in", "bytes_in", "packets_out", "bytes_out")


def path_of(net):
    return os.path.join(net.run_dir, "dpdk/sluice/dpdk_telemetry.v2")


class Telemetry:
    """One client of the socket."""

    def __init__(self, net):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(path_of(net))
        self.greeting = json.loads(self.socket.recv(16384))

    def ask(self, command):
        """None: it was refused."""
        self.socket.send(command.encode())
        return json.loads(self.socket.recv(16384))[command.split(",")[0]]

    def close(self):
        self.socket.close()


@pytest.fixture
def telemetry(net):
    client = Telemetry(net)
    yield client
    client.close()


def columns_as_rows(columns, prefix=""):
    """Of an answer's lists, which stand for the members of its records."""
    lists = {name.removeprefix(prefix): value for name, value in columns.items() if isinstance(value, list)}
    return [dict(zip(lists, row)) for row in zip(*lists.values(), strict=True)]


def counted(telemetry):
    """As `sluice -j counters` has it; loops go on whatever we do."""
    split = {"verdicts": {}, "events": {}}
    for name, value in telemetry.ask("/sluice/counters").items():
        group, name = name.split("/")
        split[group][name] = value
    return without_loops(split)


def without_loops(counters):
    return {"verdicts": counters["verdicts"],
            "events": {name: n for name, n in counters["events"].items() if not name.endswith(("loops", "sleeps"))}}


def test_counters_are_those_of_the_command_line(net, telemetry):
    topology.answers(net, 80, 30)
    seen = {}

    def same():
        seen.update(telemetry=counted(telemetry), cli=without_loops(net.counters()))
        return seen["telemetry"] == seen["cli"]

    topology.wait_until(lambda: f"the same counters: {seen}", 10, same)
    assert seen["cli"]["verdicts"]["forward"] > 100 and telemetry.greeting["pid"] == net.processes["dataplane"].pid


def test_status_ports_and_workers_are_those_of_the_command_line(net, telemetry):
    status, told = net.status(), telemetry.ask("/sluice/status")
    assert told["generation"] == status["dataplane_generation"] and told["digest"] == status["dataplane_digest"]
    assert (told["services"], told["backends"]) == (status["services"], status["backends"])
    assert told["flows_capacity"] == status["flows_capacity"] and told["engine"] == "dpdk"
    ports = columns_as_rows(telemetry.ask("/sluice/ports"))
    for told, port in zip(ports, status["ports"], strict=True):
        assert all(told[name] == port[name] for name in ("name", "driver", "kernel_interface", "mtu", "speed_mbps"))
        assert told["rx_packets"] >= port["rx_packets"] > 0
    workers = columns_as_rows(telemetry.ask("/sluice/workers"))
    assert [(w["core"], w["state"]) for w in workers] == [(w["core"], w["state"]) for w in status["workers"]]


def test_service_and_its_backends_are_those_of_the_command_line(net, telemetry):
    topology.answers(net, 80, 30)
    seen = {}

    def same():
        told = telemetry.ask("/sluice/service,web")
        listed = net.json("backend", "list", "web")["backends"]
        seen.update(told={row["address"]: [row[name] for name in FIGURES] for row in columns_as_rows(told, "backend_")},
                    listed={b["address"]: [b["counters"][name] for name in FIGURES] for b in listed})
        counters = net.json("counters", "service", "web")["counters"]
        return seen["told"] == seen["listed"] and all(told[name] == counters[name] for name in FIGURES)

    topology.wait_until(lambda: f"the same figures: {seen}", 10, same)
    told = telemetry.ask("/sluice/service,web")
    assert (told["name"], told["address"], told["mode"]) == ("web", f"{topology.SERVICE4}:80/tcp", "nat")
    assert (told["backends"], told["next"]) == (3, 0) and told["flows"] >= 30
    assert {row["state"] for row in columns_as_rows(told, "backend_")} == {"ready"}


@pytest.mark.parametrize("command", ["/sluice/service", "/sluice/service,", "/sluice/service,we", "/sluice/service,webb",
                                     "/sluice/service,web,4", "/sluice/service,web,x", "/sluice/service,web,-1",
                                     "/sluice/service,web,", "/sluice/service," + "x" * 900, "/sluice/services,1x",
                                     "/sluice/services,99999999999999999999", "/sluice/service,\x01\xff"])
def test_what_is_not_there_is_refused(telemetry, command):
    assert telemetry.ask(command) is None
    assert telemetry.ask("/sluice/services")["services"] >= 4


def pages(telemetry, command):
    """All answers, each asked for by what the one before said."""
    answer = telemetry.ask(command)
    yield answer
    while answer["next"]:
        answer = telemetry.ask(f"{command},{answer['next']}")
        yield answer


def test_long_lists_are_told_in_parts_that_say_so(net, telemetry):
    names = [f"service-{i:03}-{'n' * 50}" for i in range(300)]
    many = {name: (f"203.0.113.20:{1000 + i}/udp", [("10.90.2.11:9", 1)]) for i, name in enumerate(names)}
    many["crowd"] = ("203.0.113.21:80/tcp", [(f"10.90.2.11:{1000 + i}", 1) for i in range(150)])
    services = net.services
    net.write_config({**services, **many})
    net.sluice("apply", net.config)
    try:
        net.wait_in_step()
        answers = list(pages(telemetry, "/sluice/services"))
        assert len(answers) > 1 and all(answer["services"] == len(services) + 301 for answer in answers)
        assert sorted(name for answer in answers for name in answer["name"]) == sorted([*services, *many])
        answers = list(pages(telemetry, "/sluice/service,crowd"))
        assert [len(answer["backend_address"]) for answer in answers] == [32, 32, 32, 32, 22]
        assert [row["address"] for answer in answers for row in columns_as_rows(answer, "backend_")] == sorted(
            backend for backend, _ in many["crowd"][1])
    finally:
        net.write_config(services)
        net.sluice("apply", net.config)


def test_clients_are_answered_while_the_state_changes(net):
    is_over, refused = threading.Event(), []

    def ask_on():
        client = Telemetry(net)
        while not is_over.is_set():
            for command in ("status", "counters", "services", "service,web", "ports", "workers"):
                if client.ask(f"/sluice/{command}") is None:
                    refused.append(command)
        client.close()

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(20):
            net.sluice("service", "add", f"passing{i}", f"203.0.113.30:{1000 + i}/tcp")
        for i in range(20):
            net.sluice("service", "delete", f"passing{i}")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert not refused


def test_threads_of_clients_keep_off_the_workers_cores(net, telemetry):
    worker = net.status()["workers"][0]["core"]
    telemetry.ask("/sluice/status")
    assert all(worker not in cores for cores in cores_of_others(net).values())


def test_nothing_is_left_after_a_stop_and_a_kill_does_no_harm(net):
    for how in (signal.SIGKILL, signal.SIGTERM):
        net.stop("dataplane", how)
        assert os.path.exists(path_of(net)) == (how == signal.SIGKILL)
        assert os.path.exists(os.path.join(net.run_dir, "dpdk")) == (how == signal.SIGKILL)
        net.bring_dataplane_up()
        net.wait_in_step()
        assert Telemetry(net).ask("/sluice/services")["services"] == 4


def test_run_dir_that_is_too_long_for_the_socket_is_refused(net):
    run_dir = os.path.join(net.dir, "r" * (78 - len(net.dir)))
    done = net.run_in("lb", os.path.join(topology.BUILD, "sluice-dpdk"), "-c", net.config, "--run-dir", run_dir, check=False)
    assert done.returncode == 1 and "path longer than 107 bytes" in done.stderr


def test_nothing_listens_unless_it_was_asked_for(net):
    net.stop("dataplane")
    net.more_config = []
    net.write_config(net.services)
    net.bring_dataplane_up()
    net.wait_in_step()
    assert not os.path.exists(path_of(net))
    net.more_config = MORE_CONFIG
    net.write_config(net.services)
    net.hang_up()
    topology.wait_until("the change to be named", 5, lambda: "dataplane.telemetry has changed: needs a restart" in net.log("dataplane"))
