# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""What tests of the API share: each file has a `sluice` of its own configuration."""
import pytest


@pytest.fixture
def api(sluice):
    connection = sluice.connect()
    yield connection
    connection.close()
