# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The flow log: who was connected to whom, in every mode; files that are moved away; disks that are full."""
import json
import os
import re
import signal

import pytest

import topology
from test_egress import HOST, INSIDE, OUTSIDE, POOL, Endpoint

HAS_FLOW_LOG = True
TIMEOUTS = {"transitory": 1, "embryonic": 1, "udp": 1}
NAT, FULLNAT = "203.0.113.31", "203.0.113.32"


def records(net):
    with open(net.flow_log) as file:
        return [json.loads(line) for line in file]


def wait_for(net, **wanted):
    """The records that have these members, when there is one."""
    return topology.wait_until(f"{wanted} in {net.flow_log}", 20, lambda: [
        record for record in records(net) if all(record.get(key) == value for key, value in wanted.items())])


def timeouts():
    return [word for name, seconds in TIMEOUTS.items() for word in ("timeout", name, str(seconds))]


@pytest.fixture(scope="module", autouse=True)
def logged(net):
    """A service of each mode that is logged; those of the file are not."""
    for name, address, words in (("logged", f"{NAT}:80/tcp", ()), ("full", f"{FULLNAT}:80/tcp", (
            "mode", "fullnat", "source", topology.SOURCES4[0]))):
        net.sluice("service", "add", name, address, *words, "flow_log", "yes", *timeouts())
        net.sluice("backend", "add", name, f"{topology.backend4(1)}:8080")
    for family in (4, 6):
        net.sluice("service", "add", f"office{family}", INSIDE[family], "source", POOL[family][0], "flow_log", "yes", *timeouts())
        # With XDP the packet that asks for a link address is lost.
        topology.wait_until("a neighbour", 10, lambda family=family: net.run_in(
            "lb", "ping", "-c", "1", "-W", "1", OUTSIDE[family][0], check=False).returncode == 0)
    topology.wait_until("neighbours", 15, lambda: all(
        backend["neighbour"] for backend in net.json("backend", "list")["backends"]))


def test_a_connection_begins_and_ends(net):
    assert net.run_in("client", "curl", "-sf", "--local-port", "41000", f"http://{NAT}/name").stdout == "backend1\n"
    client = f"{topology.CLIENT4}:41000"
    begin, = wait_for(net, client=client, event="begin")
    end, = wait_for(net, client=client, event="end")
    assert begin["service"] == end["service"] == "logged"
    for record in (begin, end):
        assert record["address"] == f"{NAT}:80" and record["backend"] == f"{topology.backend4(1)}:8080"
        assert record["protocol"] == "tcp" and "source" not in record and "destination" not in record
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["time"])
    assert begin["time"] < end["time"]


def test_what_stands_for_the_client(net):
    assert net.run_in("client", "curl", "-sf", "--local-port", "41001", f"http://{FULLNAT}/who").stdout == f"{topology.SOURCES4[0]}\n"
    begin, = wait_for(net, client=f"{topology.CLIENT4}:41001", event="begin")
    assert begin["service"] == "full" and begin["source"].startswith(f"{topology.SOURCES4[0]}:")
    wait_for(net, client=f"{topology.CLIENT4}:41001", event="end", source=begin["source"])


@pytest.mark.parametrize("family", (4, 6))
def test_whom_a_private_host_talks_to(net, family):
    def end(addr, port):
        return f"[{addr}]:{port}" if family == 6 else f"{addr}:{port}"

    with Endpoint(net, "b1", HOST[family](1)) as inside, Endpoint(net, "client", OUTSIDE[family][0], 7061) as server:
        inside.send(server.addr, server.port, "hello")
        source = server.receive()[1:]
        begin, = wait_for(net, client=end(inside.addr, inside.port), event="begin")
        assert begin["service"] == f"office{family}" and begin["protocol"] == "udp" and "address" not in begin
        assert begin["source"] == end(*source) and begin["destination"] == end(server.addr, server.port)
        done, = wait_for(net, client=end(inside.addr, inside.port), event="end")
        assert done["source"] == begin["source"] and "destination" not in done
    assert "1 received" in net.run_in("b2", "ping", "-c", "1", OUTSIDE[family][0]).stdout
    wait_for(net, protocol="icmp" if family == 4 else "icmpv6", event="begin", service=f"office{family}")


def test_others_are_not_logged(net):
    assert "backend" in net.run_in("client", "curl", "-sf", f"http://{topology.SERVICE4}/name").stdout
    assert not [record for record in records(net) if record["service"] == "web"]


def test_a_deleted_service_has_its_name(net):
    net.sluice("service", "add", "short", "10.90.2.13/32", "source", POOL[4][1], "flow_log", "yes")
    with Endpoint(net, "b3", HOST[4](3)) as inside, Endpoint(net, "client", OUTSIDE[4][0], 7062) as server:
        inside.send(server.addr, server.port, "hello")
        server.receive()
        wait_for(net, service="short", event="begin")
        net.sluice("service", "delete", "short")
        wait_for(net, service="short", event="end")


def one_flow(net, port):
    assert net.run_in("client", "curl", "-sf", "--local-port", str(port), f"http://{NAT}/name").stdout == "backend1\n"


def open_again(net):
    n = net.log("dataplane").count("opened again")
    net.hang_up()
    topology.wait_until("the file to be opened again", 10, lambda: net.log("dataplane").count("opened again") > n)


def test_moved_away_and_full(net):
    moved = f"{net.flow_log}.1"
    lost = net.counters()["events"]["flow_log_lost"]
    one_flow(net, 41010)
    wait_for(net, client=f"{topology.CLIENT4}:41010", event="end")
    os.rename(net.flow_log, moved)
    os.symlink("/dev/full", net.flow_log)
    open_again(net)
    one_flow(net, 41011)
    topology.wait_until("lost records", 20, lambda: net.counters()["events"]["flow_log_lost"] >= lost + 2)
    assert net.log("dataplane").count("No space left on device; flows go on, their records are lost") == 1
    os.unlink(net.flow_log)
    open_again(net)
    one_flow(net, 41012)
    wait_for(net, client=f"{topology.CLIENT4}:41012", event="end")
    assert "is written again" in net.log("dataplane")
    with open(moved) as file:
        old = sum(1 for line in file if json.loads(line))

    # All records are in a file, or counted as lost.
    def is_whole():
        events = net.counters()["events"]
        return events["flow_log_records"] == old + len(records(net)) + events["flow_log_lost"]
    topology.wait_until("all records", 20, is_whole)


def test_a_dataplane_that_ends(net):
    """With DPDK its flows end with it, and the log says so; with XDP they live on, and end in the next one's."""
    net.sluice("service", "set", "logged", "timeout", "transitory", "3")
    one_flow(net, 41020)
    wait_for(net, client=f"{topology.CLIENT4}:41020", event="begin")
    net.stop("dataplane", signal.SIGTERM)
    if topology.ENGINE == "dpdk":
        wait_for(net, client=f"{topology.CLIENT4}:41020", event="end")
    else:
        assert not [record for record in records(net) if record["client"] == f"{topology.CLIENT4}:41020" and record["event"] == "end"]
    net.bring_dataplane_up()
    net.wait_in_step()
    wait_for(net, client=f"{topology.CLIENT4}:41020", event="end", service="logged")
