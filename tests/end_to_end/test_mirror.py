"""Two remotes: what is committed comes to the mirror, whatever dies; restore does without the primary."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, running_daemon, until
from tests.kit.mirrored import caught_up, mirrored_daemon, objects


def fill(folder: Path, seed: int, files: int = 8) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    made = {f"file-{number}": chance.randbytes(9000 + 100 * number) for number in range(files)}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def read(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "primary", tmp_path / "mirror"


def test_every_version_comes_to_the_mirror_byte_for_byte(tmp_path: Path, places: tuple[Path, Path]) -> None:
    primary, mirror = places
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        for seed in range(3):
            fill(tmp_path / "in", seed)
            node.put_done(tmp_path / "in", name="data", run=m.RunInfo("run-1", "p"))
        caught_up(node, primary, mirror)
        until(lambda: node.call(m.Status()).mirror_state == "ok")
        assert "mirror" in node.syncctl("status").stdout
    with running_daemon(tmp_path / "reader", remote=mirror, settings=SMALL) as reader:
        reader.get_done("data", tmp_path / "out", "v2")
        assert reader.call(m.Fsck(1.0)).findings == []
    assert read(tmp_path / "out") == fill(tmp_path / "again", 2)


def test_a_version_is_restored_while_the_primary_is_away(tmp_path: Path, places: tuple[Path, Path]) -> None:
    primary, mirror = places
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        made = fill(tmp_path / "in", 1)
        node.put_done(tmp_path / "in", name="data")
        caught_up(node, primary, mirror)
        primary.rename(tmp_path / "away")
        assert "as the mirror has it" in node.syncctl("show", "data").stdout
        assert node.syncctl("files", "data").stdout.count("file-") == len(made)
        assert node.syncctl("show", "data:v7").returncode == 8  # the mirror may be behind: that is not "not found"
        node.get_done("data", tmp_path / "out")
        assert read(tmp_path / "out") == made
        node.stop()
        node.start()  # a life that has never seen the primary
        node.get_done("data", tmp_path / "later")
        assert read(tmp_path / "later") == made
        waiting = node.put(tmp_path / "in", name="new")  # writing needs the primary: it waits for it
        (tmp_path / "away").rename(primary)
        assert node.wait(waiting.job)[0].state == "done"


@pytest.mark.parametrize("what", ["chunk", "manifest", "log", "pack"])
def test_what_is_damaged_in_the_primary_is_read_from_the_mirror_and_restored_from_it(
    tmp_path: Path, places: tuple[Path, Path], what: str
) -> None:
    primary, mirror = places
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        made = fill(tmp_path / "in", 1)
        node.put_done(tmp_path / "in", name="data")
        caught_up(node, primary, mirror)
        right = objects(primary)
        prefix = {"manifest": "manifests/", "log": "a/"}.get(what, "packs/")
        for key in [key for key in right if key.startswith(prefix)]:
            (primary / key).unlink()
            if what in ("chunk", "log"):
                damaged = bytearray(right[key])
                damaged[len(damaged) // 2] ^= 1
                (primary / key).write_bytes(damaged)
        node.get_done("data", tmp_path / "out")
        assert read(tmp_path / "out") == made
        assert not node.call(m.Fsck(1.0)).sound
        report = node.call(m.Fsck(1.0, None, True))
        assert report.sound, report.findings
        assert objects(primary) == right
        assert node.call(m.Fsck(1.0)).findings == []


def test_a_record_that_is_damaged_is_restored_even_by_a_daemon_that_never_read_it(
    tmp_path: Path, places: tuple[Path, Path]
) -> None:
    primary, mirror = places
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        made = fill(tmp_path / "in", 1)
        node.put_done(tmp_path / "in", name="data")
        caught_up(node, primary, mirror)
        node.stop()
        record = primary / "repo.json"
        right = record.read_bytes()
        record.unlink()
        record.write_bytes(right[:-5])
        node.start()
        node.get_done("data", tmp_path / "out")
        assert read(tmp_path / "out") == made
        assert node.call(m.Fsck(0.0, None, True)).sound
        assert record.read_bytes() == right


def test_a_mirror_that_is_away_holds_up_nothing_and_catches_up(tmp_path: Path, places: tuple[Path, Path]) -> None:
    primary, mirror = places
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        mirror.rename(tmp_path / "away")
        fill(tmp_path / "in", 1)
        node.put_done(tmp_path / "in", name="data")
        until(lambda: node.call(m.Status()).mirror_state not in ("ok", "not reached yet"))
        (tmp_path / "away").rename(mirror)
        caught_up(node, primary, mirror)


def test_a_mirror_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path, places: tuple[Path, Path]) -> None:
    primary, mirror = places
    fill(tmp_path / "in", 1, 40)
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        for kill in range(4):
            fill(tmp_path / "in", kill, 40)
            before = len(objects(mirror))
            node.put_done(tmp_path / "in", name="data")
            until(lambda before=before: len(objects(mirror)) > before + 2)
            node.kill()
            assert whole(mirror)
            node.start()
        caught_up(node, primary, mirror)
    assert set(objects(mirror)) == set(objects(primary))


def whole(mirror: Path) -> bool:
    """Whether everything that the mirror's logs name is there: looked at by a daemon that knows no primary."""
    if not any(key.startswith("a/") for key in objects(mirror)):
        return True
    copy = mirror.parent / f"copy-{len(objects(mirror))}"
    shutil.copytree(mirror, copy, ignore=shutil.ignore_patterns(".tmp"), dirs_exist_ok=True)
    (copy / ".tmp").mkdir(exist_ok=True)
    with running_daemon(copy.parent / f"{copy.name}-reader", remote=copy, settings=SMALL) as reader:
        return bool(reader.call(m.Fsck(1.0)).findings == [])


def test_a_mirror_of_another_repository_is_left_alone(tmp_path: Path, places: tuple[Path, Path]) -> None:
    primary, mirror = places
    with running_daemon(tmp_path / "other", remote=mirror, settings=SMALL):
        before = objects(mirror)
    with mirrored_daemon(tmp_path / "node", primary, mirror) as node:
        until(lambda: "another repository" in node.call(m.Status()).mirror_state)
        fill(tmp_path / "in", 1)
        node.put_done(tmp_path / "in", name="data")
        assert objects(mirror) == before
