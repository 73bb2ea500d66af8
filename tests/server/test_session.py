"""The socket: greeting, requests side by side, limits, cancelling, peers that vanish or do not read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import RemoteRefused
from syncd.model import views
from syncd.server import session
from syncd.server.replies import Replies, to_wire
from syncd.store.memory import MemoryStore
from syncd_client.wire import messages as m
from syncd_client.wire.frames import encode_frame
from tests.kit.clocks import ManualClock
from tests.kit.service_kit import Room, service_room
from tests.kit.stores import FlakyStore, Held, on, refuse


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with service_room(tmp_path / "home", MemoryStore()) as made:
        yield made


async def logged(client: Any, path: Path, draft: str = "d1", name: str = "data", **more: Any) -> m.JobInfo:
    await client.add(draft, path)
    return await client.call(m.Log(draft, name, "dataset", **more))  # type: ignore[no-any-return]


# --- the house ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(m.REQUESTS.values(), key=lambda kind: kind.op), ids=lambda kind: kind.op)
async def test_every_request_has_a_handler(room: Room, kind: type[m.Request]) -> None:
    assert Replies(room.service).knows(kind) or kind is m.CancelRequest


PAIRS = [
    (views.ErrorView, m.ErrorInfo), (views.ReceiptView, m.Receipt), (views.JobView, m.JobInfo),
    (views.VersionView, m.VersionInfo), (views.ArtifactView, m.ArtifactInfo), (views.FileView, m.FileInfo),
    (views.VerifyView, m.VerifyReport), (views.TakenView, m.TakenInfo), (views.WatchView, m.WatchInfo),
    (views.StatusView, m.StatusInfo), (views.CollectView, m.CollectReport), (views.CollectStepView, m.CollectStep),
    (views.ExplainView, m.Explanation), (views.FindingView, m.FindingInfo), (views.CheckView, m.CheckReport),
    (views.CopyView, m.CopyReport), (views.StepView, m.StepInfo),
    (views.GroupView, m.GroupInfo),
]  # fmt: skip


@pytest.mark.parametrize(("view", "message"), PAIRS, ids=lambda cls: cls.__name__)
def test_views_and_messages_agree_field_for_field(view: Any, message: Any) -> None:
    assert [field.name for field in fields(view)] == [field.name for field in fields(message)]
    for ours, theirs in zip(fields(view), fields(message), strict=True):
        assert (ours.default is MISSING) == (theirs.default is MISSING), ours.name


def test_every_view_is_paired() -> None:
    named = {cls for name, cls in vars(views).items() if name.endswith("View")}
    assert named == {view for view, _ in PAIRS}


def test_views_within_views_cross_the_wire() -> None:
    job = views.JobView("j", "upload", "failed", error=views.ErrorView("corrupt", "x"))
    assert to_wire(m.JobInfo, job).error == m.ErrorInfo("corrupt", "x")


# --- greeting and limits ------------------------------------------------------------------------------------


async def test_nothing_is_answered_before_hello(room: Room) -> None:
    client = await room.connect(greet=False)
    assert await client.refused(m.Ping()) == "protocol"
    with pytest.raises(EOFError):
        await client.next()


async def test_another_protocol_is_refused_by_number(room: Room) -> None:
    client = await room.connect(greet=False)
    kind, body = await client.ask(m.Hello("x", protocol=99))
    assert (kind, body["code"]) == ("error", "protocol")
    assert "99" in body["what"]
    with pytest.raises(EOFError):
        await client.next()


async def test_who_does_not_greet_in_time_is_sent_away(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELLO_SECONDS", 0.2)
    greeted = await room.connect()
    later = await room.connect(greet=False)
    with pytest.raises(EOFError):
        await later.next()
    await greeted.call(m.Ping())  # its own time was over before


async def test_garbage_ends_its_connection_and_no_other(room: Room) -> None:
    good, bad = await room.connect(), await room.connect()
    bad.writer.write(b"\xff" * 1000)
    number, kind, body = await bad.next()
    assert (number, kind, body["code"]) == (0, "error", "protocol")
    with pytest.raises(EOFError):
        await bad.next()
    await good.call(m.Ping())


async def test_unknown_verbs_and_wrong_fields_are_told_and_the_session_goes_on(room: Room) -> None:
    client = await room.connect()
    client.writer.write(encode_frame({"id": 901, "op": "fly", "body": {}}))
    assert (await client.next())[2]["code"] == "unknown_verb"
    client.writer.write(encode_frame({"id": 902, "op": "show", "body": {"name": 5}}))
    assert (await client.next())[2]["code"] == "invalid"
    await client.call(m.Ping())


async def test_too_many_clients_are_told_to_try_again(tmp_path: Path) -> None:
    async with service_room(tmp_path / "home", MemoryStore(), connections=2) as room:
        first, _ = await room.connect(), await room.connect()
        third = await room.connect(greet=False)
        assert (await third.next())[2]["code"] == "busy"
        first.close()
        async with asyncio.timeout(5):
            while room.service.clients > 1:
                await asyncio.sleep(0.01)
        await (await room.connect()).call(m.Ping())


async def test_requests_beyond_the_limit_are_not_begun(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REQUESTS_AT_ONCE", 3)
    client = await room.connect()
    running = [client.send(m.Subscribe()) for _ in range(3)]
    assert await client.refused(m.Ping()) == "busy"
    await client.call(m.CancelRequest(running[0]))
    assert (await client.answer(running[0]))[1]["code"] == "cancelled"
    await client.call(m.Ping())


# --- cancelling, waiting ------------------------------------------------------------------------------------


async def test_a_request_is_cancelled_and_answered_so(room: Room) -> None:
    client = await room.connect()
    number = client.send(m.Subscribe())
    assert (await client.ask(m.CancelRequest(number)))[0] == "ok"
    assert (await client.answer(number))[1]["code"] == "cancelled"


async def test_a_request_cancelled_in_the_same_breath_is_answered_too(room: Room) -> None:
    client = await room.connect()
    number = client.send(m.Subscribe())
    cancel = client.send(m.CancelRequest(number))
    answers = {frame[0]: frame for frame in (await client.next(), await client.next())}
    assert answers[number][2]["code"] == "cancelled"
    assert answers[cancel][1] == "ok"


async def test_waiting_ends_with_the_caller_s_patience_and_the_job_goes_on(tmp_path: Path) -> None:
    store = Held(MemoryStore())
    async with service_room(tmp_path / "home", store) as room:
        (tmp_path / "f").write_bytes(b"bytes")
        client = await room.connect()
        job = await logged(client, tmp_path / "f")
        assert await client.refused(m.Wait([job.job], 0.05)) == "timeout"
        store.let_go()
        waited = await client.call(m.Wait([job.job], 20.0))
        assert [(j.state, j.version) for j in waited.jobs] == [("done", 0)]


async def test_waiting_for_an_unknown_job_is_not_found(room: Room) -> None:
    assert await (await room.connect()).refused(m.Wait(["nothing"])) == "not_found"


async def test_who_waits_hears_why_it_takes_long_and_is_answered_when_the_remote_is_back(tmp_path: Path) -> None:
    store = FlakyStore(MemoryStore())
    clock = ManualClock()
    async with service_room(tmp_path / "home", store, clock) as room:
        (tmp_path / "f").write_bytes(b"bytes")
        client = await room.connect()
        await client.call(m.Status())
        store.plan = on("put", "", refuse())
        job = await logged(client, tmp_path / "f")
        number = client.send(m.Wait([job.job]))
        for _ in range(5):
            await clock.sleeping()
            clock.skip()
        await clock.sleeping()
        late = await client.ask(m.Wait([job.job], 0.01))
        assert late[0] == "error" and late[1]["code"] == "timeout"
        assert "injected" in late[1]["why"] and "next in" in late[1]["why"]
        (held_up,) = [body for request, _, body in client.events if request == number + 1]
        assert (held_up["state"], held_up["error"]["code"]) == ("waiting", "remote_unavailable"), "told at once"
        store.plan = lambda call: None
        clock.skip()
        kind, body = await client.answer(number)
        assert (kind, [job["state"] for job in body["jobs"]]) == ("ok", ["done"])


async def test_what_only_a_person_can_mend_is_told_when_it_is_met_anew(tmp_path: Path) -> None:
    store = FlakyStore(MemoryStore())
    clock = ManualClock()
    async with service_room(tmp_path / "home", store, clock) as room:
        (tmp_path / "f").write_bytes(b"bytes")
        client = await room.connect()
        store.plan = on("put", "", refuse(RemoteRefused("the remote refuses")))
        job = await logged(client, tmp_path / "f")
        number = client.send(m.Wait([job.job]))
        await clock.sleeping()
        clock.skip()  # the first try may have failed before the wait began
        kind, body = await client.answer(number)
        assert (kind, body["jobs"][0]["state"], body["jobs"][0]["error"]["code"]) == ("ok", "waiting", "remote_refused")
        await clock.sleeping()
        store.plan = lambda call: None
        number = client.send(m.Wait([job.job]))
        await client.call(m.Status())
        clock.skip()
        kind, body = await client.answer(number)
        assert (kind, body["jobs"][0]["state"]) == ("ok", "done"), "the mended remote was given its try"


async def test_who_uses_what_is_on_its_way_waits_through_an_outage(tmp_path: Path) -> None:
    store = FlakyStore(MemoryStore())
    clock = ManualClock()
    async with service_room(tmp_path / "home", store, clock) as room:
        (tmp_path / "f").write_bytes(b"bytes")
        client = await room.connect()
        store.plan = on("put", "", refuse())
        job = await logged(client, tmp_path / "f")
        number = client.send(m.Use(job.name))
        for _ in range(5):
            await clock.sleeping()
            clock.skip()
        await clock.sleeping()
        store.plan = lambda call: None
        clock.skip()
        kind, body = await client.answer(number)
        assert (kind, body["version"]) == ("ok", 0)


async def test_progress_is_told_while_one_waits(room: Room, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(100_000))
    client = await room.connect()
    job = await logged(client, tmp_path / "f")
    await client.call(m.Wait([job.job], 20.0))
    assert {kind for _, kind, _ in client.events} <= {"job"}
    assert {body["job"] for *_, body in client.events} <= {job.job}


# --- peers that vanish, peers that do not read -----------------------------------------------------------------


async def test_a_peer_that_does_not_read_holds_up_nobody_and_is_cut_off(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "WRITE_SECONDS", 0.2)
    silent, good = await room.connect(), await room.connect()
    for _ in range(20_000):
        silent.writer.write(encode_frame({"id": 7, "op": "nothing", "body": {}}))
    for _ in range(20):
        await good.call(m.Ping())
    async with asyncio.timeout(10):
        while room.service.clients > 1:
            await asyncio.sleep(0.01)


async def test_a_client_that_vanishes_while_it_waits_leaves_its_job_running(tmp_path: Path) -> None:
    store = Held(MemoryStore())
    async with service_room(tmp_path / "home", store) as room:
        (tmp_path / "f").write_bytes(b"bytes")
        client = await room.connect()
        job = await logged(client, tmp_path / "f")
        client.send(m.Wait([job.job]))
        await client.writer.drain()
        client.close()
        store.let_go()
        other = await room.connect()
        assert (await other.call(m.Wait([job.job], 20.0))).jobs[0].state == "done"
