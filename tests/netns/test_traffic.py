# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Real clients and servers through the balancer: bodies, connections, shares, datagrams."""
import json
import math
import os
import sys

import pytest
from scapy.all import IP, TCP, Ether  # pylint: disable=no-name-in-module

import topology

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = [topology.SERVICE4, topology.SERVICE6]


def url(host, path):
    return f"http://[{host}]/{path}" if ":" in host else f"http://{host}/{path}"


def http(net, host, count, first_port):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), host, "80",
                      str(count), str(first_port))
    return json.loads(done.stdout)


@pytest.mark.parametrize("host", TARGETS)
@pytest.mark.parametrize("name", ["empty", "one", "kilo", "mega", "big"])
def test_body_arrives_with_the_right_hash(net, files, host, name):
    done = net.run_in("client", "bash", "-c",
                      f"set -o pipefail; curl -sfg --max-time 120 '{url(host, name)}' | sha256sum")
    assert done.stdout.split()[0] == files[1][name]


@pytest.mark.parametrize("host", TARGETS)
def test_2000_new_connections_none_fails_and_shares_follow_weights(net, host):
    # Fixed ports and the fixed hash key: the same 2000 choices in each run, none by chance.
    result = http(net, host, 2000, 10000)
    assert result["failed"] == 0, result
    total = sum(result["answers"].values())
    assert total == 2000
    for i in (1, 2, 3):
        share = i / 6
        sigma = math.sqrt(total * share * (1 - share))
        assert abs(result["answers"].get(f"backend{i}", 0) - total * share) <= 3 * sigma, result


@pytest.mark.parametrize("host", TARGETS)
def test_2000_datagrams_of_all_sizes_are_echoed(net, host):
    done = net.run_in("client", sys.executable, os.path.join(HERE, "udp_client.py"), host, "53", "2000")
    assert done.stdout.split() == ["2000", "2000"]


def test_the_status_pages_document_has_what_passed(net):
    before = net.json("counters", "service", "web")["counters"]["packets_in"]
    net.run_in("client", "curl", "-sf", url(topology.SERVICE4, "name"))

    def has_passed():
        document = json.loads(net.run_in("lb", "curl", "-sf", "http://127.0.0.1:9109/status.json").stdout)
        web = next(service for service in document["services"] if service["name"] == "web")
        told = net.json("counters", "service", "web")
        parts = [sum(backend["counters"][key] for backend in web["backends"]) for key in ("packets_in", "bytes_out")]
        return (document["status"]["engine"] == topology.ENGINE and web["counters"] == told["counters"] and
                web["counters"]["packets_in"] > before and parts == [web["counters"][key] for key in ("packets_in", "bytes_out")])
    topology.wait_until("the document, which is a second old at most", 10, has_passed)


def test_backend_sees_the_clients_address(net):
    done = net.run_in("client", "curl", "-sf", url(topology.SERVICE4, "who"))
    assert done.stdout.strip() == topology.CLIENT4


@pytest.mark.parametrize("host", TARGETS)
def test_kernel_answers_echo_to_the_service_address(net, host):
    net.run_in("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", host)


@pytest.mark.parametrize("host", TARGETS)
def test_service_is_reached_after_the_client_forgot_its_neighbours(net, host):
    net.ip("client", "neigh", "flush", "dev", "eth0")
    net.run_in("client", "curl", "-sfg", "--max-time", "5", url(host, "name"))


@pytest.mark.parametrize("host", TARGETS)
def test_port_that_is_no_services_is_refused_by_the_kernel(net, host):
    done = net.run_in("client", "curl", "-sg", "--max-time", "5",
                      url(host, "").rstrip("/") + ":81/", check=False)
    assert done.returncode == 7, done  # refused, not timed out (28)
    script = (
        "import socket,sys\n"
        f"s=socket.socket(socket.{'AF_INET6' if ':' in host else 'AF_INET'},socket.SOCK_DGRAM)\n"
        f"s.settimeout(3); s.connect(('{host}',54)); s.send(b'x')\n"
        "try:\n s.recv(10)\nexcept ConnectionRefusedError:\n print('refused')\n")
    assert net.run_in("client", sys.executable, "-c", script).stdout == "refused\n"


def test_other_addresses_of_the_host_are_the_kernels(net):
    done = net.run_in("client", "curl", "-s", "--max-time", "5", f"http://{topology.OWN4}:82/", check=False)
    assert done.returncode == 7, done
    net.run_in("client", "ping", "-c", "1", "-W", "2", topology.OWN4)


def test_explain_says_where_the_flow_then_goes(net):
    for source_port in (20001, 20002, 20003, 20004):
        client = f"{topology.CLIENT4}:{source_port}"
        told = net.json("explain", "tcp", client, f"{topology.SERVICE4}:80")
        assert told["verdict"] == "forward" and not told["existing_flow"], told
        net.run_in("client", "curl", "-sf", "--local-port", str(source_port), url(topology.SERVICE4, "name"))
        flows = net.json("flow", "list", "client", client)["flows"]
        assert [flow["backend"] for flow in flows] == [told["backend"]], (told, flows)
        again = net.json("explain", "tcp", client, f"{topology.SERVICE4}:80")
        assert again["existing_flow"] and again["backend"] == told["backend"]


def test_it_is_told_how_close_to_the_limits_it_is(net):
    status = net.status()
    net.run_in("client", "curl", "-sf", url(topology.SERVICE4, "name"))
    kinds = {"affinities", "flows", "flows_embryonic", "receive", "transmit"}
    if topology.ENGINE == "dpdk":
        kinds |= {"worker_time", "worker_backlog"}

    def told():
        found = net.status()["saturation"]
        # A look is a second after the one before, and all that passed between is in it.
        return kinds == found.keys() and found["flows"] > 0 and (topology.ENGINE == "xdp" or found["worker_time"] > 0) and found

    found = topology.wait_until("saturation of all kinds", 10, told)
    assert all(0 <= ratio < 1 for ratio in found.values()), found
    if topology.ENGINE == "dpdk":
        now = net.status()
        assert now["workers"][0]["busy_ms"] >= status["workers"][0]["busy_ms"]
        assert now["workers"][0]["full_loops"] <= now["workers"][0]["busy_loops"]
    assert "saturation" in net.sluice("status").stdout


def test_5000_dropped_frames_leave_no_buffer_behind(net):
    mac = net.status()["ports"][0]["mac"]
    frame = Ether(src="02:00:00:00:00:01", dst=mac) / IP(src=topology.CLIENT4, dst=topology.SERVICE4, ttl=1) / TCP(
        sport=1234, dport=80)
    net.send_until_counted(bytes(frame), "drop_ttl", 5000)
    net.check_buffers()


def test_a_port_outlives_more_punted_frames_than_there_are_buffers(net):
    """What is punted goes through the whole pool, and not through the buffers used last alone."""
    mac = net.status()["ports"][0]["mac"]
    frame = Ether(src="02:00:00:00:00:01", dst=mac) / IP(src=topology.CLIENT4, dst=topology.SERVICE4) / TCP(
        sport=1234, dport=99)
    net.send_until_counted(bytes(frame), "punt_not_service", 20000)
    done = net.run_in("client", "curl", "-s", "--max-time", "5", f"http://{topology.SERVICE4}/name")
    assert done.stdout.startswith("backend")


def test_counters_of_service_and_backends_add_up(net):
    before = net.json("counters", "service", "web")
    result = http(net, topology.SERVICE4, 100, 13000)
    after = net.json("counters", "service", "web")
    assert result["failed"] == 0
    assert after["counters"]["flows"] - before["counters"]["flows"] == 100
    flows = {b["address"]: b["counters"]["flows"] for b in after["backends"]}
    for backend in before["backends"]:
        flows[backend["address"]] -= backend["counters"]["flows"]
    assert sum(flows.values()) == 100
    for i in (1, 2, 3):
        assert flows[f"{topology.backend4(i)}:8080"] == result["answers"].get(f"backend{i}", 0)


def test_flow_count_sees_live_flows(net):
    http(net, topology.SERVICE4, 40, 14000)
    count = net.json("flow", "count")
    assert count["ipv4"] >= 40
    assert count["capacity"] == 65536
