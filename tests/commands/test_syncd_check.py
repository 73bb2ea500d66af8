"""`syncd check`: what a remote can carry is asked of it, and one where two writers win is refused."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.clock import SystemClock, system_chance
from syncd.errors import RemoteRefused
from syncd.repo.probe import Report, probe
from syncd.store.base import ObjectInfo, Store
from syncd.store.memory import MemoryStore
from tests.commands.test_syncd_init import EverybodyWins
from tests.kit import servers
from tests.kit.bucket_daemon import bucket_daemon, syncd
from tests.kit.clocks import ManualClock
from tests.kit.fault_proxy import answer, fault_proxy, without_rights
from tests.kit.servers import Server


async def look(store: Store) -> Report:
    return await probe(store, system_chance(), SystemClock())


def marks(report: Report) -> dict[str, str]:
    return {looked.check: looked.mark for looked in report.looked}


def test_a_bucket_that_can_carry_a_repository(tmp_path: Path, moto: Server) -> None:
    url = moto.url("bucket", "checked")
    with bucket_daemon(tmp_path, moto, url, start=False) as node:
        told = syncd(node, "check", url)
    assert (told["verdict"], told["reasons"], told["left"]) == ("ok", [], [])
    assert told["credentials"] == "environment (AWS_ACCESS_KEY_ID)"
    assert {look["check"]: look["mark"] for look in told["looked"]} == dict.fromkeys(
        ("create", "read", "clock", "list", "delete"), "ok"
    )
    assert "Contents" not in moto.boto().list_objects_v2(Bucket="bucket", Prefix="checked/")


def test_the_doctor_names_the_credentials_and_what_can_be_done_with_them(tmp_path: Path, moto: Server) -> None:
    with fault_proxy(moto.port) as proxy:
        url = moto.url("bucket", "doctor", proxy.endpoint)
        with bucket_daemon(tmp_path, moto, url, start=False) as node:
            syncd(node, "init", url)
            found = {check["check"]: check for check in syncd(node, "doctor")["checks"]}
            assert found["credentials"]["text"] == "environment (AWS_ACCESS_KEY_ID)"
            assert (found["remote"]["verdict"], proxy.endpoint in found["remote"]["text"]) == ("ok", True)
            proxy.plan = lambda asked: without_rights(asked) if asked.method == "DELETE" else None
            found = {check["check"]: check for check in syncd(node, "doctor")["checks"]}
            assert found["remote"]["verdict"] == "warn"
            proxy.plan = lambda asked: answer(403, "SignatureDoesNotMatch")
            found = {check["check"]: check for check in syncd(node, "doctor", code=1)["checks"]}
            assert found["remote"]["verdict"] == "fail"


def test_a_directory_is_checked_too(tmp_path: Path, moto: Server) -> None:
    url = f"file://{tmp_path}/remote"
    with bucket_daemon(tmp_path / "n", moto, url, start=False) as node:
        syncd(node, "init", url)
        assert syncd(node, "check")["verdict"] == "ok"
    assert [path.name for path in (tmp_path / "remote").rglob("*") if path.is_file()] == ["repo.json"]


def test_a_bucket_that_is_not_there_is_refused_with_8(tmp_path: Path, moto: Server) -> None:
    with bucket_daemon(tmp_path, moto, moto.url("no-such-bucket"), start=False) as node:
        assert "no such bucket" in syncd(node, "check", code=8)["error"]["why"]


def test_without_the_right_to_delete_it_is_fit_for_uploads_and_init_goes_on(tmp_path: Path, moto: Server) -> None:
    with fault_proxy(moto.port) as proxy:
        url = moto.url("bucket", "nodelete", proxy.endpoint)
        with bucket_daemon(tmp_path, moto, url, start=False) as node:
            proxy.plan = lambda asked: without_rights(asked) if asked.method == "DELETE" else None
            told = syncd(node, "check", url)
            assert told["verdict"] == "upload-only"
            assert len(told["left"]) == 6
            assert syncd(node, "init", url)["verdict"] == "upload-only"


async def test_a_store_where_everybody_wins_is_refused() -> None:
    found = await look(EverybodyWins())
    assert found.verdict == "refused"
    assert "8 of 8 writers that raced for one key were told they won" in found.reasons


async def test_a_store_whose_last_writer_wins_is_refused() -> None:
    class LastWins(MemoryStore):
        async def create(self, key: str, data: object) -> None:
            await self.put(key, [data])  # type: ignore[list-item]

    assert (await look(LastWins())).verdict == "refused"
    alone = await probe(LastWins(), system_chance(), SystemClock(), racers=1)
    assert "a create of a key that exists was not refused" in alone.reasons


async def test_a_store_that_ignores_ranges_is_refused() -> None:
    class Whole(MemoryStore):
        async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            return await super().get(key)

    found = await look(Whole())
    assert found.verdict == "refused"
    assert "a range" in found.reasons[0]


async def test_a_list_that_lags_behind_is_told_and_changes_nothing() -> None:
    class Late(MemoryStore):
        async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
            return
            yield

    found = await look(Late())
    assert (found.verdict, marks(found)["list"]) == ("ok", "note")


async def test_a_clock_that_is_off_is_told_and_changes_nothing() -> None:
    found = await probe(MemoryStore(ManualClock(1000.0)), system_chance(), SystemClock())
    assert (found.verdict, marks(found)["clock"]) == ("ok", "note")


async def test_what_was_made_is_removed_when_looking_fails() -> None:
    class Unreadable(MemoryStore):
        async def stat(self, key: str) -> ObjectInfo:
            raise RemoteRefused("no")

    store = Unreadable()
    with pytest.raises(RemoteRefused):
        await look(store)
    assert not [info async for info in store.list("")]


@pytest.mark.npm
def test_a_real_server_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    with servers.s3rver() as server, bucket_daemon(tmp_path, server, server.url("bucket", "x"), start=False) as node:
        told = syncd(node, "check", code=8)
        assert told["verdict"] == "refused"
        assert any("were told they won" in reason for reason in told["reasons"])
        assert syncd(node, "init", code=8)["error"]["code"] == "remote_refused"
        assert os.listdir(node.home) == [] or not (node.home / "state/remote").exists()
