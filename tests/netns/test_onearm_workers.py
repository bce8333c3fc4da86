# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Mode fullnat with one port and two workers, whose frames the driver spreads by a hash that is not
ours: what arrives at the wrong worker is handed to the owner, in both directions."""
import pytest

import topology
from test_workers import test_datagrams_are_echoed_on_two_workers, test_no_request_fails_on_two_workers  # noqa: F401
from test_onearm import test_no_two_live_flows_share_a_source  # noqa: F401

KIND = "vdev"
WORKERS = 2
ONE_ARM = True


@pytest.mark.parametrize("host", [topology.SERVICE4, topology.SERVICE6])
@pytest.mark.parametrize("name", ["kilo", "mega"])
def test_body_arrives_with_the_right_hash(net, files, host, name):
    host = f"[{host}]" if ":" in host else host
    done = net.run_in("client", "bash", "-c",
                      f"set -o pipefail; curl -sfg --max-time 60 'http://{host}/{name}' | sha256sum")
    assert done.stdout.split()[0] == files[1][name]
