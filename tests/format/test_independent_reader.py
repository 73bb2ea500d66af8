"""The sixty-line reader, made from docs/FORMAT.md alone, on the bucket of then and on one that was filled just now."""

import ast
import os
import random
import shutil
from pathlib import Path
from struct import iter_unpack

import msgpack
import pytest
from blake3 import blake3

from tests.format.independent_reader import DECODED, chunk, log, replay, restore
from tests.kit.daemon import SMALL, running_daemon
from tests.kit.flow_kit import tree

READER = Path(__file__).with_name("independent_reader.py")
GOLDEN = Path(__file__).parent.parent / "golden" / "v1" / "bucket"
WEIGHTS = "a/demo%20project/weights/log"
NOISE = b"".join(blake3(b"noise" + bytes([i])).digest() for i in range(12))
TEXT = b"the quick brown fox jumps over the lazy dog\n" * 20
FIRST = {
    b"caf\xe9 \xff\n.bin": NOISE,
    b"data/link": "../model.bin",
    b"data/table.csv": TEXT + NOISE[:100] + TEXT,
    b"empty": b"",
    b"hollow.bin": bytes(1000) + NOISE[100:200] + bytes(1000),
    b"logs": None,
    b"model.bin": NOISE,
}
MODES = {b"caf\xe9 \xff\n.bin": 0o600, b"model.bin": 0o755}


def test_it_has_at_most_sixty_lines_and_nothing_of_syncd():
    text = READER.read_text()
    theory, *code = ast.parse(text).body
    lines = [line for line in text.splitlines()[theory.end_lineno :] if line.strip() and line.strip()[0] != "#"]
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120
    imported = {alias.name for part in code if isinstance(part, ast.Import) for alias in part.names}
    imported |= {part.module for part in code if isinstance(part, ast.ImportFrom)}
    assert imported == {"importlib.util", "json", "struct", "msgpack", "blake3"}


def test_it_restores_every_version_of_the_golden_bucket(tmp_path):
    versions, aliases = replay(log(GOLDEN, WEIGHTS))
    assert aliases == {"old": 0, "latest": 2}
    second = FIRST | {b"model.bin": NOISE[:256] + TEXT}
    for number, content in enumerate([FIRST, second, FIRST]):
        restore(GOLDEN, versions[number], tmp_path / str(number))
        assert tree(tmp_path / str(number)) == content
        for path in (p for p in (tmp_path / str(number)).rglob("*") if p.is_file() and not p.is_symlink()):
            assert path.stat().st_mode & 0o777 == MODES.get(bytes(path.relative_to(tmp_path / str(number))), 0o644)


def test_it_restores_what_a_daemon_stored_just_now(tmp_path):
    """Many packs and pages, compression, zeros, chunks of an earlier version, a deletion."""
    rng = random.Random(5)
    files = {f"many/{number:03}".encode(): rng.randbytes(rng.randrange(3000)) for number in range(150)}
    files |= {b"big": rng.randbytes(90_000), b"zeros": bytes(40_000), b"text": TEXT * 30, b"link": "big", b"dir": None}
    changed = files | {b"big": files[b"big"][:50_000] + b"!" + files[b"big"][50_000:], b"caf\xe9": b"new"}
    with running_daemon(tmp_path / "home", remote=tmp_path / "remote", settings=SMALL) as daemon:
        for number, content in enumerate((files, changed, {b"gone": b"gone"})):
            write(tmp_path / str(number), content)
            daemon.put_done(tmp_path / str(number), aliases=["best"])
        assert daemon.syncctl("rm", "--force", "data:v2").returncode == 0
    versions, aliases = replay(log(tmp_path / "remote", "a/uncategorized/data/log"))
    assert aliases == {"latest": 1}
    for number, content in ((aliases["latest"], changed), (0, files)):
        restore(tmp_path / "remote", versions[number], tmp_path / f"out-{number}")
        assert tree(tmp_path / f"out-{number}") == content


def write(root, files):
    for name, content in files.items():
        place = root / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir()
        elif isinstance(content, str):
            place.symlink_to(content)
        else:
            place.write_bytes(content)


@pytest.mark.parametrize("key", ["reg/log", "r/demo%20project/run%201%2F%C3%BC/log", "a/demo%20project/ranks/log"])
def test_it_reads_the_chain_of_every_other_log(key):
    assert len(list(log(GOLDEN, key))) >= 2


def test_it_refuses_what_it_does_not_carry_out():
    with pytest.raises(AssertionError, match="part"):
        replay(log(GOLDEN, "a/demo%20project/ranks/log"))


@pytest.mark.parametrize("which", ["entry", "last entry", "manifest", "pack"])
def test_it_sees_a_flipped_bit(tmp_path, which):
    bucket = tmp_path / "bucket"
    shutil.copytree(GOLDEN, bucket)
    version = replay(log(bucket, WEIGHTS))[0][0]
    entries = sorted((bucket / WEIGHTS).iterdir())
    pack = next(path for path in (bucket / "packs").rglob("*") if path.name == pages_of(version)[0][6].hex())
    path = {"entry": entries[3], "last entry": entries[-1], "manifest": bucket / version["manifest"], "pack": pack}[
        which
    ]
    whole = path.read_bytes()
    index = range(len(whole) - 64 - int.from_bytes(whole[-44:-40], "little"), len(whole) - 48)
    for at in [80, *index] if which == "pack" else range(len(whole)):  # a pack's headers are for rescue alone
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Exception):  # noqa: B017  an assertion, or a decoder that gives up before
            restore(bucket, replay(log(bucket, WEIGHTS))[0][0], tmp_path / f"out-{at}")
    path.write_bytes(whole)
    restore(bucket, version, tmp_path / "out")


def pages_of(version):
    data = (GOLDEN / version["manifest"]).read_bytes()
    return msgpack.unpackb(DECODED[data[8]](data[13:-32], 0))["pages"]


def test_the_digests_are_what_the_text_says():
    versions, _ = replay(log(GOLDEN, WEIGHTS))
    for page in pages_of(versions[0]):
        packs, entries = msgpack.unpackb(chunk(GOLDEN, page[6], page[7])[8:])
        for entry in (entry for entry in entries if entry[1] == 0):
            spans = iter_unpack("<III", entry[5])
            pieces = [chunk(GOLDEN, packs[pack], first + i) for pack, first, count in spans for i in range(count)]
            listed = b"".join(len(piece).to_bytes(8, "little") + blake3(piece).digest() for piece in pieces)
            assert blake3(b"syncd file 1\0" + listed).digest() == entry[4]
    trees = b"".join(page[5] for page in pages_of(versions[0]))
    assert blake3(b"syncd version 1\0" + trees).digest() == versions[0]["digest"]
