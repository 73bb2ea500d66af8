"""Bucket stores for tests, each on a prefix of its own, and no credentials but the test's."""

from __future__ import annotations

import itertools
import os

import pytest

from syncd.clock import SystemClock
from syncd.store.bucket import BucketStore, Patience, open_bucket
from syncd.store.open import parse_remote
from tests.kit.servers import BUCKET, Server

_NUMBERS = itertools.count()
QUICK = Patience(20.0, 5.0)


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Nothing of the machine's own credentials reaches a test."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")) or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def opened(server: Server, monkeypatch: pytest.MonkeyPatch, endpoint: str = "", prefix: str = "") -> BucketStore:
    """Return a store on a fresh prefix of BUCKET, with the server's credentials in the environment."""
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    url = server.url(BUCKET, prefix or fresh_prefix(), endpoint)
    return open_bucket(parse_remote(url), SystemClock(), patience=QUICK)


def fresh_prefix() -> str:
    """Return a prefix that nothing was stored below in this process."""
    return f"some/where{next(_NUMBERS)}"
