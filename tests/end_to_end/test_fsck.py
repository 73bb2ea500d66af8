"""Damage of every kind, done to a bucket that a real daemon has filled: found, named with whom it hurts, mended."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd_client import errors
from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, running_daemon, until

FILES = 12


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    with running_daemon(tmp_path / "node", remote=tmp_path / "remote", settings=SMALL) as daemon:
        yield daemon


def fill(folder: Path, seed: int, files: int = FILES) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    made = {f"file-{number}": chance.randbytes(9000 + 100 * number) for number in range(files)}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def objects(node: Daemon, where: str) -> list[Path]:
    return sorted(path for path in (node.remote / where).rglob("*") if path.is_file())


def change(path: Path, act: Callable[[bytearray], Any]) -> None:
    data = bytearray(path.read_bytes())
    act(data)
    path.chmod(0o600)
    path.unlink()
    path.write_bytes(data)


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 1


def fsck(node: Daemon, share: float = 0.0, repair: bool = False) -> m.CheckReport:
    report = node.call(m.Fsck(share, 7, repair))
    assert isinstance(report, m.CheckReport)
    return report


def kinds(report: m.CheckReport) -> set[tuple[str, str]]:
    return {(finding.kind, finding.key) for finding in report.findings}


def key(node: Daemon, path: Path) -> str:
    return str(path.relative_to(node.remote))


def restored(node: Daemon, name: str, root: Path, ref: str = "latest") -> dict[str, bytes]:
    node.get_done(name, root, ref)
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_a_sound_remote_is_said_to_be_sound_and_nothing_is_written(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    before = {path: path.read_bytes() for path in objects(node, "")}
    told = node.syncctl("fsck", "--read-data", "100%", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["sound"] and report["versions"] == 1 and report["packs_read"] == report["packs"] > 2
    assert {path: path.read_bytes() for path in objects(node, "")} == before


def test_a_share_of_the_packs_is_read_and_the_same_seed_reads_the_same(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    one, two = fsck(node, 0.5), fsck(node, 0.5)
    assert 0 < one.packs_read < one.packs
    assert (one.packs_read, one.bytes_read, one.seed) == (two.packs_read, two.bytes_read, 7)


@pytest.mark.parametrize("kind", ["missing", "truncated", "flipped", "swapped"])
def test_a_damaged_pack_is_found_with_the_versions_it_hurts_and_no_others(
    node: Daemon, tmp_path: Path, kind: str
) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    before = set(objects(node, "packs"))
    fill(tmp_path / "other", 2)
    node.put_done(tmp_path / "other", name="other")
    victim = min(before, key=lambda path: -path.stat().st_size)
    if kind == "missing":
        victim.unlink()
    elif kind == "truncated":
        change(victim, lambda data: data.__delitem__(slice(len(data) // 2, None)))
    elif kind == "flipped":
        change(victim, flip)
    else:
        donor = next(path for path in objects(node, "packs") if path not in before)
        change(victim, lambda data: data.__setitem__(slice(None), donor.read_bytes()))
    report = fsck(node, 1.0 if kind == "flipped" else 0.0)
    assert (kind, key(node, victim)) in kinds(report)
    assert report.damaged == ["uncategorized/data:v0"]
    told = node.syncctl("fsck", "--read-data", "100%")
    assert told.returncode == 9 and key(node, victim) in told.stdout and "uncategorized/data:v0" in told.stdout
    assert "damaged when last checked" in node.syncctl("show", "data").stdout
    assert "damaged" not in node.syncctl("show", "other").stdout


@pytest.mark.parametrize("kind", ["missing", "truncated", "flipped", "swapped"])
def test_a_damaged_manifest_is_found_and_hides_no_other(node: Daemon, tmp_path: Path, kind: str) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    (victim,) = objects(node, "manifests")
    fill(tmp_path / "other", 2)
    node.put_done(tmp_path / "other", name="other")
    other = next(path for path in objects(node, "manifests") if path != victim)
    if kind == "missing":
        victim.unlink()
    elif kind == "truncated":
        change(victim, lambda data: data.__delitem__(slice(30, None)))
    elif kind == "flipped":
        change(victim, flip)
    else:
        change(victim, lambda data: data.__setitem__(slice(None), other.read_bytes()))
    report = fsck(node)
    assert kinds(report) == {(kind, key(node, victim))}
    assert report.damaged == ["uncategorized/data:v0"]
    assert report.versions == 2


@pytest.mark.parametrize("kind", ["missing", "truncated", "flipped", "swapped", "shortened"])
def test_a_damaged_log_is_found_and_mended_from_what_this_node_has_seen(
    node: Daemon, tmp_path: Path, kind: str
) -> None:
    for version in range(3):
        fill(tmp_path / "in", version, 1)
        node.put_done(tmp_path / "in", name="data")
    slots = objects(node, "a/uncategorized/data/log")
    right = [path.read_bytes() for path in slots]
    victim = slots[-1] if kind == "shortened" else slots[2]
    if kind in ("missing", "shortened"):
        victim.unlink()
    elif kind == "truncated":
        change(victim, lambda data: data.__delitem__(slice(50, None)))
    elif kind == "flipped":
        change(victim, flip)
    else:
        change(victim, lambda data: data.__setitem__(slice(None), right[1]))
    report = fsck(node)
    assert kinds(report) == {(kind, key(node, victim))}
    assert report.damaged == [f"uncategorized/data:v{number}" for number in range(3)]
    mended = fsck(node, repair=True)
    assert mended.sound and mended.findings[0].outcome.startswith("restored")
    assert [path.read_bytes() for path in objects(node, "a/uncategorized/data/log")] == right
    assert fsck(node).findings == []


def test_a_forked_log_is_told_and_never_written_to(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1, 1)
    node.put_done(tmp_path / "in", name="data")
    shutil.copytree(node.remote, tmp_path / "old")
    fill(tmp_path / "in", 2, 1)
    node.put_done(tmp_path / "in", name="data")
    with running_daemon(tmp_path / "else", remote=tmp_path / "old", settings=SMALL) as other:
        fill(tmp_path / "in", 3, 1)
        other.put_done(tmp_path / "in", name="data")
    slot = objects(node, "a/uncategorized/data/log")[-1]
    theirs = (tmp_path / "old" / slot.relative_to(node.remote)).read_bytes()
    change(slot, lambda data: data.__setitem__(slice(None), theirs))
    report = fsck(node, repair=True)
    assert ("forked", key(node, slot)) in kinds(report) and not report.sound
    assert slot.read_bytes() == theirs


def test_a_damaged_record_and_registry_are_mended_and_hide_nothing(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1, 1)
    node.put_done(tmp_path / "in", name="data")
    record, slot = node.remote / "repo.json", objects(node, "reg/log")[0]
    right = record.read_bytes(), slot.read_bytes()
    change(record, flip)
    change(slot, flip)
    report = fsck(node)
    assert kinds(report) >= {("flipped", "repo.json"), ("flipped", key(node, slot))}
    assert report.versions == 1
    assert fsck(node, repair=True).sound
    assert (record.read_bytes(), slot.read_bytes()) == right


def test_lost_chunks_are_found_in_other_packs(node: Daemon, tmp_path: Path) -> None:
    made = fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    mine = set(objects(node, "packs"))
    with running_daemon(tmp_path / "two", remote=node.remote, settings=SMALL) as two:
        two.put_done(tmp_path / "in", name="copy")  # another journal: the chunks are stored a second time
    assert set(objects(node, "packs")) > mine
    for victim in mine:
        change(victim, lambda data: data.__setitem__(slice(40, len(data) // 2), bytes(len(data) // 2 - 40)))
    shown = fsck(node, 1.0, repair=True)
    assert shown.sound, shown.findings
    assert restored(node, "data", tmp_path / "out") == made
    again = fsck(node, 1.0, repair=True)
    assert again.findings == []


def test_lost_packs_are_rebuilt_from_a_downloaded_directory(node: Daemon, tmp_path: Path) -> None:
    made = fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    assert restored(node, "data", tmp_path / "out") == made
    page = page_packs(node)
    for victim in objects(node, "packs"):
        if victim.name not in page:
            victim.unlink()
    assert fsck(node).damaged == ["uncategorized/data:v0"]
    report = fsck(node, repair=True)
    assert report.sound, report.findings
    shutil.rmtree(tmp_path / "out")
    assert restored(node, "data", tmp_path / "fresh") == made
    assert fsck(node, 1.0).findings == []


def page_packs(node: Daemon) -> set[str]:
    """Return the names of packs that hold pages of manifests: by their magic, for small pages stay raw or whole."""
    from syncd.format.codec import decode
    from syncd.format.manifest import PAGE_MAGIC
    from syncd.format.pack import resync

    found = set()
    for path in objects(node, "packs"):
        data = path.read_bytes()
        for frame in resync(data):
            stored = data[frame.offset : frame.offset + frame.stored_length]
            if bytes(decode(frame.codec, stored, frame.raw_length)).startswith(PAGE_MAGIC):
                found.add(path.name)
    return found


def test_what_cannot_be_repaired_is_quarantined_and_everything_else_goes_on(node: Daemon, tmp_path: Path) -> None:
    made = fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    page = page_packs(node)
    victims = [path for path in objects(node, "packs") if path.name not in page]
    for victim in victims:
        change(victim, lambda data: data.__setitem__(slice(40, len(data) // 2), bytes(len(data) // 2 - 40)))
    report = fsck(node, 1.0, repair=True)
    assert not report.sound and report.damaged == ["uncategorized/data:v0"]
    assert all(finding.outcome.startswith("quarantined") for finding in report.findings)
    epochs = len(objects(node, "gc"))
    assert epochs == 2  # one epoch, ended
    with running_daemon(tmp_path / "two", remote=node.remote, settings=SMALL) as two:
        two.put_done(tmp_path / "in", name="again")  # it would learn of the damaged packs from nobody
        assert restored(two, "again", tmp_path / "there") == made
        fill(tmp_path / "in", 1)
        two.put_done(tmp_path / "in", name="data")  # its newest version refers to them: they are not learned
    node.put_done(tmp_path / "in", name="here")
    assert restored(node, "here", tmp_path / "out") == made
    second = fsck(node, 1.0, repair=True)
    assert second.sound, second.findings  # other packs hold the chunks now
    assert len(objects(node, "gc")) == epochs
    assert restored(node, "data", tmp_path / "back", "v0") == made


def test_nothing_is_written_without_repair(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    for path in [*objects(node, "packs"), *objects(node, "manifests")]:
        change(path, flip)
    before = {path: path.read_bytes() for path in objects(node, "")}
    assert not fsck(node, 1.0).sound
    assert {path: path.read_bytes() for path in objects(node, "")} == before


def test_a_version_that_was_deleted_is_nobodys_loss(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    node.call(m.Remove("data", "v0", delete_aliases=True))
    for path in objects(node, "packs"):
        os.unlink(path)
    assert fsck(node, 1.0).findings == []


def test_lost_packs_are_rebuilt_from_the_spool(node: Daemon, tmp_path: Path) -> None:
    made = fill(tmp_path / "in", 1)
    node.put_done(tmp_path / "in", name="data")
    fill(tmp_path / "other", 5, 1)
    node.put_done(tmp_path / "other", name="stuck")
    slot = objects(node, "a/uncategorized/stuck/log")[-1]
    right = slot.read_bytes()
    slot.unlink()  # this artifact takes no entry; what is logged to it stays in the spool
    slot.symlink_to("nowhere")
    job = node.put(tmp_path / "in", name="stuck")
    shutil.rmtree(tmp_path / "in")
    until(lambda: node.call(m.ShowJob(job.job)).state == "waiting")
    page = page_packs(node)
    for victim in objects(node, "packs"):
        if victim.name not in page:
            victim.unlink()
    report = node.call(m.Fsck(0.0, 7, True))
    mended = [finding for finding in report.findings if finding.key.startswith("packs/")]
    assert mended and all(finding.mended for finding in mended if "uncategorized/data:v0" in finding.hurts)
    assert restored(node, "data", tmp_path / "out") == made
    slot.unlink()
    slot.write_bytes(right)
    until(lambda: node.call(m.ShowJob(job.job)).state == "done")
    assert restored(node, "stuck", tmp_path / "back") == made


def test_a_check_is_cancelled_with_its_request_and_tells_how_far_it_is(node: Daemon, tmp_path: Path) -> None:
    fill(tmp_path / "in", 1, 60)
    node.put_done(tmp_path / "in", name="data")
    steps: list[m.StepInfo] = []
    report = node.connect().call(m.Fsck(1.0, 7), steps.append)
    assert isinstance(report, m.CheckReport)
    assert all(isinstance(step, m.StepInfo) for step in steps)
    connection = node.connect()
    for _ in range(3):
        with pytest.raises(errors.Cancelled):
            cancel_at_once(node, m.Fsck(1.0, 7))
    assert connection.call(m.Fsck(0.0)).sound


def cancel_at_once(node: Daemon, request: m.Request) -> None:
    import socket

    from syncd_client.wire.codec import decode_server_frame, encode_request
    from syncd_client.wire.frames import FrameReader

    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(node.socket))
        raw.sendall(encode_request(1, m.Hello("tests")))
        raw.sendall(encode_request(2, request) + encode_request(3, m.CancelRequest(2)))
        frames = FrameReader()
        while True:
            for payload in frames.feed(raw.recv(1 << 16)):
                number, kind, body = decode_server_frame(payload)[:3]
                if number == 2 and kind == "error":
                    raise errors.from_code(body["code"], body["what"])
                assert not (number == 2 and kind == "ok"), "it was faster"
