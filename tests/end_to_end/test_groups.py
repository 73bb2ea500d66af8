"""Several ranks, one version, with real daemons: the library and syncctl."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from syncd.format.keys import artifact_log
from syncd.format.log import LogEntry, Part, decode_entry
from syncd.model.names import ArtifactKey
from syncd_client import errors
from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, running_daemon, until
from tests.kit.flow_kit import tree

RANKS, GROUPS, DAEMONS = 8, 3, 4


def shard(folder: Path, group: str, rank: int) -> Path:
    """A rank's own files, written anew."""
    place = folder / f"{group}-{rank}"
    place.mkdir(parents=True)
    (place / f"shard-{rank}.bin").write_bytes(f"{group} {rank} ".encode() * (500 + 100 * rank))
    (place / "config.json").write_text(f'{{"group": "{group}"}}')
    return place


def entries(remote: Path, project: str, name: str = "model") -> list[LogEntry]:
    log = remote / artifact_log(ArtifactKey(project, name))
    return [decode_entry(path.read_bytes()) for path in sorted(log.iterdir())]


def project_of(daemon: Daemon) -> str:
    return str(daemon.call(m.Ping()).project)


def put_rank(daemon: Daemon, place: Path, group: str, rank: int, of: int, local: int = 1) -> m.JobInfo:
    return daemon.put(place, name="model", group=group, rank=rank, world_size=of, local_world_size=local)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[Daemon]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_daemon(tmp_path / f"n{number}", remote=tmp_path / "remote", settings=SMALL))
            for number in range(2)
        ]


@pytest.mark.timeout(300)
def test_eight_ranks_times_three_groups_at_once_are_three_versions(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running_daemon(tmp_path / f"n{number}", remote=remote, settings=SMALL))
            for number in range(DAEMONS)
        ]
        wanted = [(f"ckpt-{group}", rank) for group in range(GROUPS) for rank in range(RANKS)]

        def one(group: str, rank: int) -> m.JobInfo:
            node = nodes[rank * DAEMONS // RANKS]
            job = put_rank(node, shard(tmp_path / "data", group, rank), group, rank, RANKS, RANKS // DAEMONS)
            (ended,) = node.wait(job.job, timeout=120)
            return ended

        with ThreadPoolExecutor(len(wanted)) as pool:
            ended = list(pool.map(lambda pair: one(*pair), wanted))
        assert {job.state for job in ended} == {"done"}
        versions: dict[str, set[int | None]] = {}
        for job in ended:
            versions.setdefault(job.group, set()).add(job.version)
        assert sorted(next(iter(found)) for found in versions.values() if len(found) == 1) == [0, 1, 2]  # type: ignore[type-var]
        for group, (version,) in versions.items():
            out = tmp_path / "out" / group
            nodes[0].get_done("model", out, f"v{version}")
            parts = [tree(tmp_path / "data" / f"{group}-{rank}") for rank in range(RANKS)]
            assert tree(out) == {name: content for part in parts for name, content in part.items()}


def test_the_ranks_of_one_daemon_share_one_slot_of_the_log(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "n", remote=tmp_path / "remote", settings=SMALL) as node:
        jobs = [put_rank(node, shard(tmp_path, "g", rank), "g", rank, RANKS, RANKS).job for rank in range(RANKS)]
        ended = node.wait(*jobs)
        assert [(job.state, job.version) for job in ended] == [("done", 0)] * RANKS
        parts = [entry for entry in entries(tmp_path / "remote", project_of(node)) if isinstance(entry, Part)]
        assert [part.ranks for part in parts] == [tuple(range(RANKS))]


def test_who_waits_is_told_when_another_node_completes_the_version(tmp_path: Path, daemons: list[Daemon]) -> None:
    one, two = daemons
    first = put_rank(one, shard(tmp_path, "g", 0), "g", 0, 2)
    contributed = until(lambda: _in_state(one, first.job, "done"))
    assert (contributed.version, contributed.group, contributed.rank, contributed.world_size) == (None, "g", 0, 2)
    assert one.call(m.Status()).pins == {}, "what is in the log need not be pinned"
    with pytest.raises(errors.WaitTimeoutError) as late:
        one.call(m.Wait([first.job], 0.8))
    assert "1 of 2 ranks are missing: rank 1" in str(late.value)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.wait, first.job)
        last = put_rank(two, shard(tmp_path, "g", 1), "g", 1, 2)
        assert two.wait(last.job)[0].version == 0
        assert waiting.result()[0].version == 0
    one.kill()
    one.start()
    assert one.wait(first.job)[0].version == 0


def _in_state(daemon: Daemon, job: str, state: str) -> Any:
    found = daemon.call(m.ShowJob(job))
    return found if found.state == state else None


def test_show_names_missing_ranks_and_abort_ends_the_group_for_who_waits(tmp_path: Path, daemons: list[Daemon]) -> None:
    one, two = daemons
    first = put_rank(one, shard(tmp_path, "g", 1), "g", 1, 4)
    until(lambda: _in_state(one, first.job, "done"))
    shown = two.syncctl("show", "model")
    assert "g: 1 of 4 ranks; missing: 0, 2, 3" in shown.stdout, shown
    (group,) = json.loads(two.syncctl("show", "model", "--json").stdout)["groups"]
    assert (group["state"], group["missing"]) == ("open", [0, 2, 3])
    young = two.syncctl("abort", "model", "--older-than", "3600", "--json")
    assert json.loads(young.stdout)["groups"] == []
    done = two.syncctl("abort", "model", "--group", "g", "--reason", "node 7 burns")
    assert done.returncode == 0, done
    waited = one.syncctl("wait", first.job)
    assert waited.returncode == errors.CONFLICT and "node 7 burns" in waited.stderr, waited
    assert one.call(m.ShowJob(first.job)).error.code == "aborted"
    assert "g: aborted: node 7 burns" in one.syncctl("show", "model").stdout
    (late,) = two.wait(put_rank(two, shard(tmp_path, "g", 2), "g", 2, 4).job)
    assert (late.state, late.error and late.error.code) == ("failed", "aborted")
    assert two.syncctl("abort", "model", "--group", "none").returncode == errors.NOT_FOUND


def test_a_group_is_aborted_by_its_age_and_a_complete_one_is_not(tmp_path: Path, daemons: list[Daemon]) -> None:
    one, _ = daemons
    whole = put_rank(one, shard(tmp_path, "whole", 0), "whole", 0, 1)
    one.wait(whole.job)
    first = put_rank(one, shard(tmp_path, "old", 0), "old", 0, 2)
    until(lambda: _in_state(one, first.job, "done"))
    slot = max((tmp_path / "remote" / artifact_log(ArtifactKey(project_of(one), "model"))).iterdir())
    os.utime(slot, (time.time() - 7200, time.time() - 7200))
    aborted = json.loads(one.syncctl("abort", "model", "--older-than", "3600", "--json").stdout)["groups"]
    assert [group["group"] for group in aborted] == ["old"]
    assert one.syncctl("abort", "model", "--group", "whole").returncode == errors.CONFLICT


def test_put_is_one_rank_as_the_launcher_says_and_never_by_surprise(tmp_path: Path, daemons: list[Daemon]) -> None:
    one, _ = daemons
    launched = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "77"}
    one.environ |= launched
    plain = one.syncctl("put", shard(tmp_path, "p", 0), "--name", "plain", "--json")
    assert json.loads(plain.stdout)["job"]["version"] == 0, plain
    more = ("--name", "model", "--json")
    first = one.syncctl("put", shard(tmp_path, "g", 1), *more, "--no-wait", "--group")
    assert [json.loads(first.stdout)["job"][key] for key in ("group", "rank", "world_size")] == ["77.0", 1, 2], first
    last = one.syncctl("put", shard(tmp_path, "g", 0), *more, "--group", "77.0", "--rank", "0")
    assert json.loads(last.stdout)["job"]["version"] == 0, last
    assert one.syncctl("put", tmp_path / "g-0", *more, "--rank", "0").returncode == errors.USAGE


SCRIPT = textwrap.dedent("""
    import sys, pathlib
    import syncd_client as wandb
    place, mode = sys.argv[1:]
    with wandb.init(project="p", group="exp") as run:
        if mode == "log":
            for turn in range(2):
                art = wandb.Artifact("model", "model")
                pathlib.Path(place, "turn").write_text(str(turn))
                art.add_dir(place)
                run.log_artifact(art, group=True)
                art.wait(60)
            print(art.version)
        else:
            art = wandb.Artifact("model", "model")
            art.add_dir(place)
            run.upsert_artifact(art)
            last = wandb.Artifact("model", "model")
            print(run.finish_artifact(last).wait(60).version, last.distributed_id)
""")


@pytest.mark.parametrize(("mode", "said"), [("log", "v1"), ("upsert", "v0 exp")])
def test_scripts_under_torchrun_make_one_version_a_round(
    tmp_path: Path, daemons: list[Daemon], mode: str, said: str
) -> None:
    running = []
    for rank, node in enumerate(daemons):
        place = tmp_path / "work" / str(rank)
        place.mkdir(parents=True)
        (place / f"shard-{rank}").write_bytes(bytes([rank]) * 9000)
        told = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "run7"}
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(place), mode], env=node.environ | told, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    for one in running:
        out, err = one.communicate(timeout=100)
        assert (one.returncode, out.strip()) == (0, said), err


def test_the_awaited_flavour_contributes_too(tmp_path: Path, daemons: list[Daemon], monkeypatch: Any) -> None:
    from syncd_client import aio

    monkeypatch.setenv("SYNCD_SOCKET", str(daemons[0].socket))

    async def rank(number: int) -> str:
        async with aio.init(project="p") as run:
            art = aio.Artifact("model", "model")
            await art.add_dir(shard(tmp_path, "a", number))
            await run.log_artifact(art, group="a", rank=number, world_size=2)
            return (await art.wait(60)).version

    async def both() -> list[str]:
        return await asyncio.gather(rank(0), rank(1))

    assert asyncio.run(both()) == ["v0", "v0"]
