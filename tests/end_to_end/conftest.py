"""Servers that the end-to-end tests of buckets talk to; each started once a test process, when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit import servers
from tests.kit.servers import Server


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    with servers.moto() as server:
        server.make_bucket("bucket")
        yield server


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.kit.ceph import radosgw

    with radosgw(tmp_path_factory.mktemp("ceph")) as server:
        server.make_bucket("bucket")
        yield server
