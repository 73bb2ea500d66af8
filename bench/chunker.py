"""Which boundary rule stores least, and how fast is the one we ship? The tables of docs/decisions/0002-chunker.md.

    python bench/chunker.py [--mib 64] [--average 16384] [--rules win8,gear64]     what each rule stores
    python bench/chunker.py --speed                                               GB/s of every variant of _cut

Inputs are made from fixed seeds (the standard library's tree aside, which is what this Python carries). Each is cut,
then edited (insertions, deletions and overwrites at 1 in 4 MiB x average/256 KiB) and cut again; what is not among
the first version's chunks is what a second upload would store.
"""

from __future__ import annotations

import argparse
import ctypes
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
    "win8": 0, "pair8@8": 1, "pair8@24": 2, "pair8@56": 3, "lin4 close": 4, "lin4 wide": 5, "lin4 even": 6,
    "lin4 prime": 7, "lin6 wide": 8, "lin8 close": 9, "lin8 wide": 10, "lin4+mix": 11, "gear64": 12,
}  # fmt: skip


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
        row = "%d,%.6f,%.4f,%.2f,%d,%.3e\n" % (n, rng.random(), rng.gauss(0, 1), rng.random() * 100,
                                                rng.randrange(10), rng.random())  # fmt: skip
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
    lines = [json.dumps({"level": level, "msg": msg, "rank": rank}).encode() + b"\n"
             for level in ("info", "warning") for msg in ("step done", "saving", "stalled") for rank in range(8)]  # fmt: skip
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
    "random": lambda size: random_bytes(size), "stdlib": standard_library, "table": table,
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


def cut(lib: ctypes.CDLL, rule: int, data: bytes, average: int) -> list[int]:
    ends = (ctypes.c_uint64 * (len(data) * 4 // average + 2))()
    size = ctypes.c_size_t
    count = lib.rival_cut(rule, data, size(len(data)), size(average // 4), size(average * 8), size(average), ends)
    return ends[:count]


def pieces(data: bytes, ends: list[int]) -> Iterator[bytes]:
    start = 0
    for end in ends:
        yield data[start:end]
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
            print(f"| {name} | {rule} | {stored:.3f} | {new:.2f} | {sum(sizes) / n / average:.2f} | "
                  f"{sizes[n // 20] / average:.2f} | {sizes[n * 19 // 20] / average:.2f} | "
                  f"{sum(s <= low for s in sizes) / n:.1%} | {sum(s == high for s in sizes) / n:.1%} |", flush=True)  # fmt: skip


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
    args = parser.parse_args()
    if args.speed:
        speed()
    else:
        compare(args.mib, args.average, args.rules.split(","))


if __name__ == "__main__":
    main()
