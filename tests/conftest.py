"""Servers of other people that tests of several rooms talk to: each started once a process, when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit import servers
from tests.kit.servers import BUCKET, Server


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    """An imitation of S3, always there."""
    with servers.moto() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[Server]:
    """A fake of ours of Google's."""
    with servers.fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Server]:
    """Microsoft's imitation of Azure's."""
    with servers.azurite() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server: Ceph's."""
    from tests.kit.ceph import radosgw

    with radosgw(tmp_path_factory.mktemp("ceph")) as server:
        server.make_bucket(BUCKET)
        yield server
