"""Cancelling a job wherever it stands: what is interrupted, what is refused, what is let go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.errors import (
    Conflict,
    LocalDisk,
    NotFound,
    RemoteUnavailable,
    SourceLost,
)
from syncd.jobs.states import Kind, State
from tests.kit.engine_kit import Script, world
from tests.kit.pinning import until


@pytest.mark.parametrize("kind", [Kind.UPLOAD, Kind.DOWNLOAD])
async def test_a_running_job_is_interrupted_and_lets_go_what_it_held(tmp_path: Path, kind: Kind) -> None:
    verb, undo = ("store j1", "release j1") if kind is Kind.UPLOAD else ("fetch j1", "discard j1")
    async with world(tmp_path) as w:
        w.script.hold(verb)
        await w.submit("j1", kind=kind)
        await w.script.reached(verb)
        async with asyncio.timeout(5):
            assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert undo in w.script.steps
        with pytest.raises(Conflict, match="cannot be cancelled"):
            await w.engine.cancel("j1")


async def test_a_waiting_job_is_cancelled_without_waiting(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", RemoteUnavailable("away"))
        await w.submit("j1")
        await w.until("j1", State.WAITING)
        await w.clock.sleeping()
        assert (await w.engine.cancel("j1")).state is State.CANCELLED


async def test_a_job_that_waits_for_its_turn_is_cancelled_at_once_and_never_begins(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("store j0")
        await w.submit("j0")
        await w.script.reached("store j0")
        await w.submit("j1", created=2.0)
        await until(lambda: w.engine.progress("j1") is not None)
        await w.rows.get("j1")  # the journal answers in order: the engine has read the row, and waits for the turn
        async with asyncio.timeout(5):
            assert (await w.engine.cancel("j1")).state is State.CANCELLED
        gate.set()
        await w.ended("j0")
        assert (await w.ended(await w.submit("j2", created=3.0))).state is State.DONE
        assert "store j1" not in w.script.steps
        assert (await w.rows.get("j1")).state is State.CANCELLED


async def test_a_job_cancelled_before_the_engine_saw_it_stays_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.submit("j1")
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert (await w.ended(await w.submit("j2"))).state is State.DONE
        assert "store j1" not in w.script.steps


async def test_what_may_be_in_the_log_cannot_be_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("commit j1")
        await w.submit("j1")
        await w.script.reached("commit j1")
        with pytest.raises(Conflict, match="cannot be cancelled"):
            await w.engine.cancel("j1")
        gate.set()
        assert (await w.ended("j1")).state is State.DONE


async def test_a_failed_job_may_be_let_go(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", SourceLost("f"))
        await w.ended(await w.submit("j1"))
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert "release j1" in w.script.steps


async def test_what_cannot_be_dropped_harms_nobody_and_is_dropped_at_the_next_start(tmp_path: Path) -> None:
    script = Script()
    script.fail("release", LocalDisk("read-only"))
    async with world(tmp_path, script) as w:
        script.hold("store j1")
        await w.submit("j1")
        await script.reached("store j1")
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert (await w.ended(await w.submit("j2", name="other"))).state is State.DONE
    async with world(tmp_path, script):
        await script.reached("release j1")


async def test_an_unknown_job_cannot_be_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(NotFound):
            await w.engine.cancel("nothing")
