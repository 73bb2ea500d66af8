"""The asyncio flavour keeps the same promises, awaited."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import syncd_client
from syncd_client import aio, errors
from syncd_client.wire import messages as m


@pytest.fixture
async def connection(daemon):
    yield aio.connection()
    await aio.connection().close()


async def test_the_documented_example_awaited(connection, daemon, tmp_path):
    (tmp_path / "train.csv").write_text("1")
    async with aio.init(project="p") as run:
        artifact = aio.Artifact("training-data", type="dataset")
        await artifact.add_file("train.csv")
        async with artifact.new_file("more.txt") as file:
            file.write("2")
        await run.log_artifact(artifact, aliases=["best"])
        used = await run.use_artifact("training-data:best")
        assert await used.download() == str(tmp_path / "artifacts/training-data:v0")
        await used.verify()
        assert (await artifact.wait()).qualified_name == "p/training-data:v0"
        assert (await run.log_artifact("train.csv", name="other")).job
    assert (tmp_path / "artifacts/training-data:v0/more.txt").read_text() == "2"
    with pytest.raises(errors.UsageError):
        await run.use_artifact("training-data")


async def test_what_is_deprecated_is_told_here_too(connection, tmp_path, capsys):
    (tmp_path / "train.csv").write_text("1")
    async with aio.init(project="p") as run:
        await run.log_artifact("train.csv", name="data", type="dataset")
        await run.use_artifact("data:latest")
        assert "use_as" not in capsys.readouterr().err
        await run.use_artifact("data:latest", use_as="train")
    assert "`use_as` is deprecated" in capsys.readouterr().err


async def test_many_calls_at_once_each_get_their_own_answer(connection):
    async def ask(n: int) -> str:
        with pytest.raises(errors.NotFound) as caught:
            await connection.call(m.Show(f"x{n}"))
        return caught.value.what

    assert await asyncio.gather(*(ask(n) for n in range(20))) == [f"no x{n}:latest" for n in range(20)]


async def test_a_cancelled_task_abandons_its_request_and_nothing_else(connection, daemon):
    daemon.hold()
    job = await connection.call(m.Log("d", "x", "t"))
    seen = asyncio.Event()
    task = asyncio.ensure_future(connection.call(m.Wait([job.job]), lambda event: seen.set()))
    await asyncio.wait_for(seen.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(connection.call(m.Ping()), 10)).protocol == 1
    daemon.release()


async def test_a_daemon_that_went_away_is_asked_again_once(connection, daemon):
    await connection.call(m.Ping())
    daemon.die_on["show"] = 1
    with pytest.raises(errors.NotFound):
        await connection.call(m.Show("x"))
    daemon.die_on["shutdown"] = 1
    with pytest.raises(errors.DaemonUnavailable, match="went away"):
        await connection.call(m.Shutdown())
    daemon.stop()
    daemon.start()
    await connection.call(m.Ping())


async def test_no_daemon_is_a_typed_error(home):
    with pytest.raises(errors.DaemonUnavailable, match="no syncd daemon answers"):
        await aio.Connection(autostart=False).call(m.Ping())


@pytest.mark.parametrize("kind", ["Artifact", "Run"])
def test_both_flavours_have_the_same_methods_and_signatures(kind):
    blocking, awaited = getattr(syncd_client, kind), getattr(aio, kind)
    public = {name for name in vars(blocking) if not name.startswith("_")}
    assert public - {"project"} == {name for name in vars(awaited) if not name.startswith("_")}
    for name in public - {"project"}:
        here, there = inspect.signature(getattr(blocking, name)), inspect.signature(getattr(awaited, name))
        assert [(p.name, p.kind, p.default) for p in here.parameters.values()] == [
            (p.name, p.kind, p.default) for p in there.parameters.values()
        ]
