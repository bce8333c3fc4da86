# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Plans of mode fullnat: as of nat, and where the source pool shrinks."""
import topology
from test_plan import N_EACH, TIMEOUTS, compare, flows_of, former, keeper, write  # noqa: F401

ONE_ARM = True


def test_flows_of_a_source_that_leaves_the_pool_go_on(net, keeper, former):  # noqa: F811
    leaving = {topology.SOURCES4[1], topology.SOURCES6[1]}
    services = {name: (address, backends, TIMEOUTS, {**options, "source": options["source"][:1]})
                for name, (address, backends, _, options) in former.items()}
    keeper.tell("open", N_EACH, N_EACH)
    sources = [flow["source"].rpartition(":")[0].strip("[]") for _, flow in flows_of(net)]
    net.write_config(services)
    plan = compare(net, keeper, False)
    assert plan["flows"]["off_pool"] == sum(source in leaving for source in sources) > 0
    assert {s["source_ports"]["now"] - s["source_ports"]["after"] for s in plan["services"]} == {64512}
    assert {w["kind"] for w in plan["warnings"]} == {"source_pool"}


def test_a_deleted_backends_connections_end_and_its_datagrams_move(net, keeper, former):  # noqa: F811
    write(net, lambda backends: backends[:-1])
    compare(net, keeper, True)


def test_in_maintenance_connections_end_and_datagrams_move(net, keeper, former):  # noqa: F811
    write(net, lambda backends: backends, "maint")
    compare(net, keeper, True)
