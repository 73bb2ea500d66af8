"""A version goes from one repository into another one: once, whole, and again without effect."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from syncd_client import errors
from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, running_daemon
from tests.kit.mirrored import objects


def fill(folder: Path, seed: int) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    made = {f"file-{number}": chance.randbytes(9000 + 100 * number) for number in range(8)}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def read(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_a_copy_is_the_same_files_and_repeating_it_does_nothing(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with (
        running_daemon(tmp_path / "one", remote=here, settings=SMALL) as one,
        running_daemon(tmp_path / "two", remote=there, settings={**SMALL, "SYNCD_CHUNKER_AVERAGE": "2048"}) as two,
    ):
        made = fill(tmp_path / "in", 1)
        one.put_done(tmp_path / "in", name="data", description="words", metadata={"loss": 0.5}, tags=["t"])
        first = one.syncctl("copy", "data", "--to", f"file://{there}", "--as", "other/copied", "--json")
        assert first.returncode == 0, first.stderr
        report = json.loads(first.stdout)
        assert (report["project"], report["name"], report["version"], report["new_version"]) == (
            "other", "copied", 0, True,
        )  # fmt: skip
        before = objects(there)
        again = one.call(m.Copy("data", f"file://{there}", to_project="other", to_name="copied"))
        assert (again.version, again.bytes_stored) == (0, 0)
        assert objects(there) == before
        shown = two.call(m.Show("copied", project="other"))
        assert (shown.description, shown.metadata, shown.tags) == ("words", {"loss": 0.5}, ["t"])
        (job,) = two.wait(two.call(m.Get("copied", bytes(tmp_path / "out"), project="other")).job)
        assert job.state == "done" and read(tmp_path / "out") == made
        assert two.call(m.Fsck(1.0)).findings == []


def test_the_next_version_stores_only_what_is_new_there(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with (
        running_daemon(tmp_path / "one", remote=here, settings=SMALL) as one,
        running_daemon(tmp_path / "two", remote=there, settings=SMALL) as two,
    ):
        made = fill(tmp_path / "in", 1)
        one.put_done(tmp_path / "in", name="data")
        first = one.call(m.Copy("data", f"file://{there}"))
        (tmp_path / "in" / "more").write_bytes(b"little")
        one.put_done(tmp_path / "in", name="data")
        second = one.call(m.Copy("data", f"file://{there}"))
        assert (first.version, second.version) == (0, 1)
        assert second.bytes_stored < first.bytes_stored / 10
        two.get_done("data", tmp_path / "out")
        assert read(tmp_path / "out") == {**made, "more": b"little"}


def test_what_cannot_be_copied_is_refused_by_name(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with (
        running_daemon(tmp_path / "one", remote=here, settings=SMALL) as one,
        running_daemon(tmp_path / "two", remote=there, settings=SMALL) as two,
    ):
        fill(tmp_path / "in", 1)
        one.put_done(tmp_path / "in", name="data")
        with pytest.raises(errors.Conflict, match="same repository"):
            one.call(m.Copy("data", f"file://{here}"))
        two.put_done(tmp_path / "in", name="data", type="model")
        with pytest.raises(errors.Conflict, match="model"):
            one.call(m.Copy("data", f"file://{there}"))
        (tmp_path / "empty" / ".tmp").mkdir(parents=True)
        with pytest.raises(errors.NotFound, match="no repository"):
            one.call(m.Copy("data", f"file://{tmp_path}/empty"))
        with pytest.raises(errors.NotFound):
            one.call(m.Copy("data", f"file://{there}", "v7"))


def test_a_copy_of_a_damaged_version_commits_nothing(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with (
        running_daemon(tmp_path / "one", remote=here, settings=SMALL) as one,
        running_daemon(tmp_path / "two", remote=there, settings=SMALL) as two,
    ):
        fill(tmp_path / "in", 1)
        one.put_done(tmp_path / "in", name="data")
        for key, data in objects(here).items():
            if key.startswith("packs/"):
                (here / key).unlink()
                (here / key).write_bytes(data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :])
        with pytest.raises(errors.Corrupt):
            one.call(m.Copy("data", f"file://{there}"))
        assert two.call(m.ListArtifacts()).artifacts == []
