"""Inputs of demo, bench and the scale lane: made from fixed seeds, faster than any disk takes them."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

MIB = 1 << 20
GIB = 1 << 30
_STEP = 8 * MIB
_TENSOR = 64 * MIB


def noise(seed: str, size: int) -> bytes:
    """Return pseudo-random bytes: the extended output of BLAKE3, some GB/s."""
    return blake3(seed.encode()).digest(length=size)


def random_file(path: Path, size: int, seed: str = "") -> None:
    """Write a file nothing can shrink or dedup."""
    with path.open("wb", buffering=0) as file:
        for at in range(0, size, _STEP):
            _write(file.write, noise(f"{seed}/{at}", min(_STEP, size - at)))


def sparse_file(path: Path, size: int, seed: str = "") -> None:
    """Write a file of which every second step is a hole: gigabytes of input at half the disk."""
    with path.open("wb", buffering=0) as file:
        file.truncate(size)
        for at in range(0, size, 2 * _STEP):
            file.seek(at)
            _write(file.write, noise(f"{seed}/{at}", min(_STEP, size - at)))


def checkpoint(path: Path, size: int, seed: str = "weights") -> None:
    """Write something shaped like a checkpoint: a header that names tensors, then tensors.

    Of eight tensors six are noise (fp32 weights hardly shrink), one is bf16-like (every second byte is one of a few),
    one is zeros (a fresh optimizer's state).
    """
    count = max(1, size // _TENSOR)
    header = json.dumps({f"layer.{n}.weight": {"dtype": "F32", "offset": n * _TENSOR} for n in range(count)}).encode()
    with path.open("wb", buffering=0) as file:
        _write(file.write, len(header).to_bytes(8, "little") + header)
        left = size - file.tell()
        number = 0
        while left:
            length = min(_TENSOR, left)
            for at in range(0, length, _STEP):
                _write(file.write, _tensor(f"{seed}/{number}/{at}", number % 8, min(_STEP, length - at)))
            left -= length
            number += 1


def _tensor(seed: str, kind: int, size: int) -> bytes:
    if kind == 7:
        return bytes(size)
    data = noise(seed, size)
    if kind != 3:
        return data
    mixed = bytearray(data)
    exponents = bytes(0x3A + (byte & 3) for byte in range(256))
    mixed[1::2] = data[1::2].translate(exponents)
    return bytes(mixed)


def change(path: Path, share: float, seed: str = "change") -> None:
    """Overwrite `share` of a file in pieces of 64 KiB spread evenly over it, as an edited data set would be."""
    piece = 64 << 10
    size = path.stat().st_size
    count = max(1, int(size * share / piece))
    with path.open("r+b", buffering=0) as file:
        for number in range(count):
            file.seek(number * (size // count))
            _write(file.write, noise(f"{seed}/{number}", piece))


def standard_library(target: Path) -> None:
    """Copy the tree of this Python's standard library: thousands of real files, for a data set.

    Links that lead out of it (Debian has some, to /etc and to the shared library) stay behind: as copies they would
    lead nowhere, or be stored as the files they lead to.
    """
    source = os.path.realpath(sysconfig.get_paths()["stdlib"])
    unwanted = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__")

    def skip(directory: str, names: list[str]) -> set[str]:
        return unwanted(directory, names) | {
            name for name in names if _leads_out(os.path.join(directory, name), source)
        }

    shutil.copytree(source, target, symlinks=True, ignore=skip)


def small_files(target: Path, count: int) -> int:
    """Write `count` files of 4 to 64 KiB, 200 in a directory; return their bytes."""
    pool = noise("small files", 64 * MIB)
    sizes = noise("sizes", 4 * count)
    total = at = 0
    for number in range(count):
        size = 4096 + int.from_bytes(sizes[4 * number : 4 * number + 4], "little") % (60 << 10)
        at = (at + 70_001) % (len(pool) - (64 << 10))
        directory = target / f"{number // 200:04}"
        if number % 200 == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:06}.bin").write_bytes(number.to_bytes(4, "little") + pool[at : at + size - 4])
        total += size
    return total


def sync(path: Path) -> None:
    """Put a file or everything below a directory on the disk, so that nobody else pays for it later."""
    del path  # the whole system, on purpose: what others left dirty would be paid by whoever is measured next
    os.sync()


def _leads_out(path: str, top: str) -> bool:
    """Return whether a path is a link that is absolute, dangling, or leads above `top`."""
    if not os.path.islink(path):
        return False
    end = os.path.realpath(path)
    inside = os.path.commonpath([end, top]) == top
    return os.path.isabs(os.readlink(path)) or not inside or not os.path.exists(end)


def _write(write: Callable[[memoryview], int | None], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[write(view) or 0 :]
