"""What crash tests log, where they do it, and what they hold a finished job to."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.daemon import SMALL

CHUNK_MINIMUM, CHUNK_MAXIMUM = 256, 2048
PACK_TARGET = 6144
SENDS = 2
FRAME_COST = 128
"""Bytes a chunk costs besides its own: frame header and place in the index, rounded up."""
TINY = {
    **SMALL,
    "SYNCD_UPLOAD_PACK_TARGET": str(PACK_TARGET),
    "SYNCD_UPLOAD_CONCURRENCY": str(SENDS),
    "SYNCD_CHUNKER_MAXIMUM": str(CHUNK_MAXIMUM),
    "SYNCD_PIN_COPY_LIMIT": "2048",
    "SYNCD_RETRY_FIRST": "0.01",
    "SYNCD_LOG_LEVEL": "error",
}
"""Packs of a few chunks, two of them in flight; files above 2 KiB are leased, smaller ones go into a blob."""


def in_flight(target: int, sends: int, minimum: int, maximum: int) -> int:
    """Return the bytes that `sends` packs on their way may have at most: the target, one chunk, headers and index."""
    return sends * (target + maximum + FRAME_COST * (target // minimum + 2))


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A directory in memory: SIGKILL does not care what is on a disk, and syncing costs nothing there."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="syncd-crash-", dir=place) as path:
        yield Path(path)


def make_small_tree(top: Path, seed: int) -> None:
    """Several files, eight packs of 6 KiB, an empty file, an empty directory, a link, a mode."""
    chance = random.Random(seed)
    (top / "sub").mkdir(parents=True)
    (top / "void").mkdir()
    (top / "big").write_bytes(chance.randbytes(38_000))
    (top / "sub" / "mid").write_bytes(chance.randbytes(5_000))
    (top / "small").write_bytes(chance.randbytes(700))
    (top / "small").chmod(0o755)
    (top / "zeros").write_bytes(bytes(9_000))
    (top / "empty").touch()
    (top / "sub" / "link").symlink_to("../big")


def make_tree(top: Path, seed: int, size: int) -> None:
    """`size` bytes: half of them in one file, the rest in sixty, some of them small."""
    chance = random.Random(seed)
    (top / "shards").mkdir(parents=True)
    (top / "checkpoint").write_bytes(chance.randbytes(size // 2))
    rest = size - size // 2
    for number in range(60):
        part = rest // 40 if number < 35 else rest // 400
        (top / "shards" / f"{number:03d}").write_bytes(chance.randbytes(part))
    (top / "latest").symlink_to("shards/000")


def tree(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return everything below a directory: mode and content of files, targets of links, empty directories."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = (0, os.readlink(path))
        elif path.is_file():
            found[name] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        elif not any(path.iterdir()):
            found[name] = (0, b"")
    return found


def copy_tree(source: Path, target: Path) -> None:
    """A fresh copy of what an earlier life made."""
    shutil.copytree(source, target, symlinks=True)
