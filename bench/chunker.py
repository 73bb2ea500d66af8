"""Which boundary rule stores least, and how fast is the one we ship? The tables of docs/decisions/0002-chunker.md.

    python bench/chunker.py [--mib 64] [--average 16384] [--rules win8,gear64]     what each rule stores
    python bench/chunker.py --gib --average 262144                               1 GiB, 1 % changed
    python bench/chunker.py --speed                                               GB/s of every variant of _cut

Inputs are made from fixed seeds (the standard library's tree aside, which is what this Python carries). Each is cut,
then edited (insertions, deletions and overwrites at 1 in 4 MiB x average/256 KiB) and cut again; what is not among
the first version's chunks is what a second upload would store.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import random
import struct
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

RULES = {
    "win8": 0,  # the candidate of the first design: the 8 bytes up to the cut
    "win8+8@24": 1,  # two such windows, 24 bytes apart
    "win8+8@56": 2,
    "group16": 3,  # one group of quad16
    "quad16@16": 4,  # four groups, 16 bytes apart: 64 bytes without a hole
    "quad16@32": 5,
    "quad16": 6,  # four groups, 64 bytes apart: quad16-1
    "gear64": 7,  # the gear hash of FastCDC, 64 bytes
}


def rivals() -> ctypes.CDLL:
    source = Path(__file__).with_name("chunker_rivals.c")
    library = Path(tempfile.mkdtemp()) / "rivals.so"
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
    lib = ctypes.CDLL(str(library))
    lib.rival_cut.restype = ctypes.c_size_t
    return lib


def random_bytes(size: int) -> bytes:
    rng = random.Random(1)
    return b"".join(rng.randbytes(min(1 << 20, size - at)) for at in range(0, size, 1 << 20))


def standard_library(size: int) -> bytes:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for p in root.rglob("*") if p.is_file() and "site-packages" not in p.parts)
    return b"".join(p.read_bytes() for p in files)[:size]


def table(size: int) -> bytes:
    rng = random.Random(2)
    rows, length, n = [], 0, 0
    while length < size:
        row = f"{n},{rng.random():.6f},{rng.gauss(0, 1):.4f},{rng.random() * 100:.2f},{rng.randrange(10)}\n"
        rows.append(row)
        length += len(row)
        n += 1
    return "".join(rows).encode()[:size]


def coarse_table(size: int) -> bytes:
    """Few digits, few values: the poor man's sensor log."""
    rng = random.Random(3)
    words = [b"%d;%.1f;%d;ok\n" % (k, rng.random() * 9, rng.randrange(3)) for k in range(40)]
    return b"".join(rng.choices(words, k=size // 12))[:size]


def logs(size: int) -> bytes:
    rng = random.Random(4)
    lines, length, step = [], 0, 0
    while length < size:
        step += 1
        line = json.dumps({"time": 1700000000 + step // 7, "level": rng.choice(["info", "info", "warning"]),
                           "msg": rng.choice(["step done", "saving checkpoint", "data loader stalled", "evaluating"]),
                           "step": step, "loss": round(rng.random() * 3, 4), "rank": rng.randrange(8)})  # fmt: skip
        lines.append(line + "\n")
        length += len(line) + 1
    return "".join(lines).encode()[:size]


def dull_logs(size: int) -> bytes:
    """Lines that only differ by which of a few they are."""
    rng = random.Random(5)
    kinds = itertools.product(("info", "warning"), ("step done", "saving", "stalled"), range(8))
    lines = [json.dumps({"level": level, "msg": msg, "rank": rank}).encode() + b"\n" for level, msg, rank in kinds]
    return b"".join(rng.choices(lines, k=size // 45))[:size]


def weights(size: int) -> bytes:
    """bf16-like: the upper halves of normal floats."""
    rng = random.Random(6)
    pool = [struct.pack("<f", rng.gauss(0, 0.02))[2:] for _ in range(1 << 18)]
    return b"".join(rng.choices(pool, k=size // 2))


def sparse(size: int) -> bytes:
    rng = random.Random(7)
    data = bytearray(size)
    for _ in range(size >> 16):
        at = rng.randrange(size - 4096)
        data[at : at + 512] = rng.randbytes(512)
    return bytes(data)


INPUTS = {
    "random": random_bytes, "stdlib": standard_library, "table": table,
    "coarse table": coarse_table, "json logs": logs, "dull logs": dull_logs, "bf16": weights, "sparse": sparse,
    "constant": lambda size: b"\x55" * size,
}  # fmt: skip


def edited(data: bytes, average: int) -> tuple[bytes, int]:
    """Insertions, deletions and overwrites spread over the data; also how many bytes are really new."""
    rng = random.Random(8)
    every = average * 16
    places = sorted(rng.randrange(len(data)) for _ in range(max(3, len(data) // every)))
    parts, at, new = [], 0, 0
    for n, place in enumerate(places):
        if place < at:
            continue
        parts.append(data[at:place])
        length = rng.randrange(1, 200)
        patch = rng.randbytes(length)
        if n % 3 != 1:
            parts.append(patch)
            new += length
        at = place if n % 3 == 0 else place + length
    parts.append(data[at:])
    return b"".join(parts), new


def cut(lib: ctypes.CDLL, rule: int, data: bytes | bytearray, average: int, least: int = 0, most: int = 0) -> list[int]:
    least, most = least or average // 4, most or average * 8
    ends = (ctypes.c_uint64 * (len(data) // least + 2))()
    size = ctypes.c_size_t
    where = (ctypes.c_char * len(data)).from_buffer(data) if isinstance(data, bytearray) else data
    count = lib.rival_cut(rule, where, size(len(data)), size(least), size(most), size(average), ends)
    return ends[:count]


def pieces(data: bytes | bytearray, ends: list[int]) -> Iterator[memoryview]:
    start, view = 0, memoryview(data)
    for end in ends:
        yield view[start:end]
        start = end


def compare(mib: int, average: int, rules: list[str]) -> None:
    lib = rivals()
    print(f"average {average}, min {average // 4}, max {average * 8}; sizes as multiples of the average\n")
    print("| input | rule | stored 1st / raw | 2nd: chunks' worth per edit | mean | p5 | p95 | at min | at max |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, make in INPUTS.items():
        data = make(mib << 20)
        changed, _ = edited(data, average)
        edits = max(3, len(data) // (average * 16))
        for rule in rules:
            ends = cut(lib, RULES[rule], data, average)
            sizes = sorted(b - a for a, b in zip([0, *ends], ends, strict=False))
            known = {blake3(p).digest(): len(p) for p in pieces(data, ends)}
            again = {blake3(p).digest(): len(p) for p in pieces(changed, cut(lib, RULES[rule], changed, average))}
            stored = sum(known.values()) / len(data)
            new = sum(length for digest, length in again.items() if digest not in known) / edits / average
            n = len(sizes)
            low, high = average // 4 + average // 64, average * 8
            at_min = sum(size <= low for size in sizes) / n
            at_max = sum(size == high for size in sizes) / n
            row = [f"{stored:.3f}", f"{new:.2f}"]
            row += [f"{size / average:.2f}" for size in (sum(sizes) / n, sizes[n // 20], sizes[n * 19 // 20])]
            print("|", " | ".join([name, rule, *row, f"{at_min:.1%}", f"{at_max:.1%}"]), "|", flush=True)


def one_percent(rules: list[str], average: int, seed: int) -> None:
    """A 1 GiB file of random bytes of which ten runs, 1 % in all, are overwritten; and one byte is put in before."""
    lib = rivals()
    size = 1 << 30
    data = bytearray(random_bytes(size))
    known = {}
    for rule in rules:
        known[rule] = {
            blake3(p).digest() for p in pieces(data, cut(lib, RULES[rule], data, average, 64 << 10, 2 << 20))
        }
    rng = random.Random(seed)
    for n in range(10):
        at = n * (size // 10) + rng.randrange(size // 20)
        data[at : at + size // 1000] = rng.randbytes(size // 1000)
    data[1000:1000] = b"!"
    print("| rule | average | changed MB | stored again MB |\n|---|---|---|---|")
    for rule in rules:
        found = {
            blake3(p).digest(): len(p) for p in pieces(data, cut(lib, RULES[rule], data, average, 64 << 10, 2 << 20))
        }
        new = sum(length for digest, length in found.items() if digest not in known[rule])
        print(f"| {rule} | {average} | {size // 1000 * 10 / 1e6:.1f} | {new / 1e6:.1f} |", flush=True)


def speed() -> None:
    from syncd.format import chunker

    data = memoryview(random_bytes(256 << 20))
    for name in chunker.variants():
        cutter = chunker.load(variant=name)
        best = 1e9
        view = data if name != "python" else data[: 4 << 20]
        for _ in range(5):
            began = time.perf_counter()
            count = len(cutter.boundaries(view, chunker.DEFAULT, True))
            best = min(best, time.perf_counter() - began)
        print(f"{cutter.name:16} {len(view) / best / 1e9:8.3f} GB/s   {count} chunks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--average", type=int, default=16384)
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--gib", action="store_true")
    parser.add_argument("--seed", type=int, default=9, help="where --gib changes the file")
    args = parser.parse_args()
    if args.speed:
        speed()
    elif args.gib:
        one_percent(args.rules.split(","), args.average, args.seed)
    else:
        compare(args.mib, args.average, args.rules.split(","))


if __name__ == "__main__":
    main()
