# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The number of workers changes under flows of mode fullnat, whose source ports belong to the worker that
chose them."""
from test_changing_workers import (  # noqa: F401
    keeper, one_worker, test_a_fourth_number_is_refused_while_flows_of_three_former_ones_live,
    test_flows_live_on_while_the_number_goes_1_2_4_1, test_parked_workers_run_again)
from test_onearm import sources_differ

KIND = "vdev"
MAX_WORKERS = 4
ONE_ARM = True
TIMEOUTS = {"transitory": 1, "udp": 5}


def test_no_two_live_flows_share_a_source(net):
    sources_differ(net, 50)  # they live for a second
