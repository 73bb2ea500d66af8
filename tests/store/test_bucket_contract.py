"""Buckets keep the contract: on an imitation always, on real servers in `make test-s3`."""

from __future__ import annotations

import random

import pytest

from syncd.clock import SystemClock
from syncd.store.base import Store
from syncd.store.retry import Retry, RetryParams
from tests.kit.servers import Server
from tests.store.conformance import StoreContract
from tests.store.conftest import opened


class TestMoto(StoreContract):
    """It answers 500 to some of several puts that race for one key, so Retry stands before it, as it does in use."""

    @pytest.fixture
    def store(self, moto: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
        return Retry(opened(moto, monkeypatch), SystemClock(), random.Random(1), RetryParams(first_s=0.01))


class TestFakeOfGoogles(StoreContract):
    """A fake of ours: never run against the real one."""

    @pytest.fixture
    def store(self, gcs: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
        return opened(gcs, monkeypatch)


@pytest.mark.ceph
class TestRadosgw(StoreContract):
    @pytest.fixture
    def store(self, radosgw: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
        return opened(radosgw, monkeypatch)


@pytest.mark.npm
class TestAzurite(StoreContract):
    @pytest.fixture
    def store(self, azurite: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
        return opened(azurite, monkeypatch)
