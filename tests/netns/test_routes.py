# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Live flows when the way to their backend becomes another."""
import subprocess
import sys

import pytest
import topology

CLIENT = ("import http.client,sys\n"
          "connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=10)\n"
          "for line in sys.stdin:\n"
          "    connection.request('GET', '/name')\n"
          "    print(connection.getresponse().read().decode().strip(), flush=True)\n")
FAMILIES = {"ipv4": (topology.SERVICE4, topology.backend4, "32", "-4"), "ipv6": (topology.SERVICE6, topology.backend6, "128", "-6")}


class Session:
    """A connection of the client, asked again and again."""

    def __init__(self, net, service):
        self.process = subprocess.Popen(net.in_ns("client", sys.executable, "-c", CLIENT, service),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self):
        """The name of the backend that answers."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def forwarded(net, name, family):
    """How many packets the host has forwarded."""
    if family == "ipv6":
        lines = dict(line.split() for line in net.run_in(name, "cat", "/proc/net/snmp6").stdout.splitlines())
        return int(lines["Ip6OutForwDatagrams"])
    names, values = [line.split() for line in net.run_in(name, "cat", "/proc/net/snmp").stdout.splitlines()
                     if line.startswith("Ip:")]
    return int(values[names.index("ForwDatagrams")])


@pytest.mark.parametrize("family", FAMILIES)
def test_live_flow_follows_the_route_to_its_backend(net, family):
    """By way of another host and back, twice, while the flow goes on."""
    service, backend, length, option = FAMILIES[family]
    session = Session(net, service)
    try:
        name = session.ask()
        number = int(name.removeprefix("backend"))
        router = number % 3 + 1
        net.run_in(f"b{router}", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                   "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0")
        route = (option, "route", "replace", f"{backend(number)}/{length}", "via", backend(router))
        for _ in range(2):
            net.ip("lb", *route)
            before = forwarded(net, f"b{router}", family)

            def is_by_the_router():
                assert session.ask() == name
                return forwarded(net, f"b{router}", family) > before

            topology.wait_until("the flow to take the new way", 10, is_by_the_router)
            net.ip("lb", option, "route", "del", *route[3:])

            def is_direct():
                before = forwarded(net, f"b{router}", family)
                assert session.ask() == name
                return forwarded(net, f"b{router}", family) == before

            topology.wait_until("the flow to take the old way again", 10, is_direct)
    finally:
        session.end()
