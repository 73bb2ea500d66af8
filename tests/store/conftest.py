"""Servers for the bucket tests: each is started once a test process, when first asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from syncd.clock import SystemClock
from syncd.store.bucket import BucketStore, Patience, open_bucket
from syncd.store.open import parse_remote
from tests.kit import servers
from tests.kit.servers import Server

_NUMBERS = itertools.count()
BUCKET = "bucket"
QUICK = Patience(20.0, 5.0)


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Nothing of the machine's own credentials reaches a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")) or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    with servers.moto() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[Server]:
    with servers.fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Server]:
    with servers.azurite() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.kit.ceph import radosgw

    with radosgw(tmp_path_factory.mktemp("ceph")) as server:
        server.make_bucket(BUCKET)
        yield server


def opened(server: Server, monkeypatch: pytest.MonkeyPatch, endpoint: str = "", prefix: str = "") -> BucketStore:
    """Return a store on a fresh prefix of BUCKET, with the server's credentials in the environment."""
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    url = server.url(BUCKET, prefix or fresh_prefix(), endpoint)
    return open_bucket(parse_remote(url), SystemClock(), patience=QUICK)


def fresh_prefix() -> str:
    """Return a prefix that nothing was stored below in this process."""
    return f"some/where{next(_NUMBERS)}"
