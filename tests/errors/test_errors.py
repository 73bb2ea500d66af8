"""Errors: what a task group failed with, and how one reads."""

from __future__ import annotations

import asyncio

import pytest

from syncd.errors import Conflict, LocalDisk, NotFound, root_cause


def test_the_cause_is_the_first_error_that_is_no_cancellation_however_deep() -> None:
    first, second = LocalDisk("full"), NotFound("gone")
    assert root_cause(BaseExceptionGroup("", [first, second])) is first
    assert root_cause(BaseExceptionGroup("", [asyncio.CancelledError(), second, first])) is second
    inner = BaseExceptionGroup("", [asyncio.CancelledError(), BaseExceptionGroup("", [first])])
    assert root_cause(BaseExceptionGroup("", [inner, second])) is first
    only_cancelled = BaseExceptionGroup("", [asyncio.CancelledError()])
    assert root_cause(BaseExceptionGroup("", [only_cancelled, second])) is second


def test_where_everything_was_cancelled_that_is_the_cause() -> None:
    cancelled = asyncio.CancelledError()
    assert root_cause(BaseExceptionGroup("", [cancelled, asyncio.CancelledError()])) is cancelled


async def test_a_task_group_that_failed_tells_the_failure_and_not_the_cancellations_it_caused() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise Conflict("taken")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for_ever())
            tasks.create_task(fail())
    assert isinstance(root_cause(caught.value), Conflict)


def test_an_error_reads_as_what_why_and_what_to_do_without_empty_lines() -> None:
    assert str(NotFound("no x", "", "try y")) == "no x\ntry y"
    assert str(NotFound("no x", "none was logged", "try y")) == "no x\nnone was logged\ntry y"
