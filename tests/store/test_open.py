"""Addresses are read strictly and without repeating secrets; the stack is built in one order."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.disk import Disk
from syncd.errors import InvalidInput, NotFound, RemoteUnavailable
from syncd.lanes import Lane, new_lock
from syncd.meter import Meter
from syncd.store.base import Store
from syncd.store.open import LimitParams, StoreParts, open_store, parse_remote
from tests.kit.clocks import ManualClock
from tests.kit.stores import FlakyStore, nth, refuse
from tests.store.conformance import StoreContract


@pytest.mark.parametrize(
    ("url", "path", "spelt"),
    [
        ("file:///data/remote", b"/data/remote", "file:///data/remote"),
        ("file://localhost/data", b"/data", "file:///data"),
        ("file:/data", b"/data", "file:///data"),
        ("file:///with%20space/%FF%3F", b"/with space/\xff?", "file:///with%20space/%FF%3F"),
        ("/bare/path", b"/bare/path", "file:///bare/path"),
        ("/not%20decoded#?", b"/not%20decoded#?", "file:///not%2520decoded%23%3F"),
        ("//twice//slashed///", b"/twice/slashed", "file:///twice/slashed"),
        ("/udc\udcff", b"/udc\xff", "file:///udc%FF"),
        ("/", b"/", "file:///"),
    ],
)
def test_an_address_has_one_spelling(url: str, path: bytes, spelt: str):
    address = parse_remote(url)
    assert (address.kind, address.path, address.url) == ("local", path, spelt)
    assert parse_remote(address.url) == address


def test_memory_is_an_address_too():
    assert parse_remote("memory:").kind == "memory"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relative/path",
        "http://u:SECRET@h/",
        "file://",
        "file:relative",
        "file://host/x",
        "file:///x?SECRET",
        "file:///x#y",
        "file:///nul%00",
        "/nul\x00",
        "FTP://x",
        "memory://x",
        "file://[/x",
        "file://u:SECRET@/x",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str):
    with pytest.raises(InvalidInput) as caught:
        parse_remote(url)
    assert "SECRET" not in str(caught.value)


@pytest.fixture
def parts() -> Iterator[StoreParts]:
    lane = Lane("test-open", 2)
    yield StoreParts(
        Disk(), lane, ManualClock(), random.Random(1), Meter(new_lock()), "me", "here", LimitParams(2, 1e12)
    )
    lane.close()


class TestTheWholeStack(StoreContract):
    @pytest.fixture
    async def store(self, parts: StoreParts, tmp_path: Path) -> Store:
        real = replace(parts, clock=SystemClock())
        return await open_store(parse_remote(str(tmp_path / "remote")), real, create=True)


async def test_faults_are_wrapped_below_the_meter_and_the_retries(parts: StoreParts):
    clock = parts.clock
    assert isinstance(clock, ManualClock)
    store = await open_store(
        parse_remote("memory:"), parts, create=True, wrap=lambda inner: FlakyStore(inner, nth("put", 1, refuse()))
    )
    await clock.run_until(asyncio.ensure_future(store.put("k", [b"x"])))
    assert parts.meter.count("remote_requests", remote="here", op="put", outcome="remote_unavailable") == 1
    assert parts.meter.count("remote_requests", remote="here", op="put", outcome="ok") == 1


async def test_a_remote_that_is_away_opens_and_says_so_when_asked(parts: StoreParts, tmp_path: Path):
    root = tmp_path / "remote"
    store = await open_store(parse_remote(str(root)), parts, create=False)
    clock = parts.clock
    assert isinstance(clock, ManualClock)
    with pytest.raises(RemoteUnavailable):
        await clock.run_until(asyncio.ensure_future(store.get("repo.json")))
    assert not root.exists()
    await open_store(parse_remote(str(root)), parts, create=True)
    with pytest.raises(NotFound):
        await store.get("repo.json")


async def test_opening_sweeps_what_this_writer_left(parts: StoreParts, tmp_path: Path):
    address = parse_remote(str(tmp_path))
    await open_store(address, parts, create=True)
    for name in ("me.0.1", "you.0.1"):
        (tmp_path / ".tmp" / name).write_bytes(b"half")
    await open_store(address, parts, create=False)
    assert os.listdir(tmp_path / ".tmp") == ["you.0.1"]
