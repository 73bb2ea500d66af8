"""A second reader, written from docs/FORMAT.md alone: it imports nothing of syncd and restores what syncd stored."""

import json
import sys
from pathlib import Path

import msgpack
import pytest
from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GOLDEN = Path(__file__).parent.parent / "golden" / "v1" / "bucket"


def hashed(*parts):
    return blake3(b"".join(parts)).digest()


def number(data, at, size=4):
    return int.from_bytes(data[at : at + size], "little")


def unsealed(data, magic):
    assert data.startswith(magic) and hashed(data[:-32]) == data[-32:]
    return data[len(magic) : -32]


def decoded(codec, stored, length):
    raw = stored if codec == 0 else bytes(length) if codec == 2 else zstd.decompress(stored)
    assert codec in (0, 1, 2) and len(raw) == length
    return raw


def frames_of(data, pack):
    count, length = number(data, len(data) - 48), number(data, len(data) - 44)
    index = data[-64 - length : -64]
    assert data[-8:] == b"SYNCDEND" and length == 44 * count and hashed(index) == data[-40:-8]
    assert hashed(b"SYNCDPAK", bytes([1, 0, 0, 0, 0, 0, 0, 0]), data[-64:-48], index) == pack
    frames, at = [], 32
    for row in range(0, length, 44):
        raw, stored, codec, encryption = number(index, row), number(index, row + 4), index[row + 8], index[row + 9]
        assert encryption == 0
        frames.append((index[row + 12 : row + 44], raw, codec, at + 48, stored))
        at += 48 + stored
    assert at + length + 64 == len(data)
    return frames


def entries_of_log(bucket, log):
    prev, slot = (
        hashed(
            b"syncd log 1\0", json.loads((bucket / "repo.json").read_bytes())["repo_id"].encode() + b"\0", log.encode()
        ),
        0,
    )
    while (path := bucket / log / f"{slot:020d}").exists():
        entry = msgpack.unpackb(unsealed(path.read_bytes(), b"SYNCDLE\x01"))
        assert entry["prev"] == prev
        yield entry
        prev, slot = hashed(path.read_bytes()), slot + 1


def replay(entries):
    versions, aliases, deleted, fence, seen = [], {}, set(), 0, set()
    for entry in entries:
        kind, version = entry["kind"], entry.get("version")
        if (kind == "commit" and entry["gc_seen"] < fence) or entry["txn"] in seen:
            continue
        seen.add(entry["txn"])
        newest = max((n for n in range(len(versions)) if n not in deleted), default=None)
        if kind == "fence":
            fence = max(fence, entry["epoch"])
        elif kind == "commit":
            if newest is None or versions[newest]["digest"] != entry["digest"]:
                newest = len(versions)
                versions.append(entry)
            aliases |= dict.fromkeys(entry["aliases"], newest)
        elif kind == "delete" and not (entry["unless_aliased"] and version in aliases.values()):
            deleted.add(version)
            aliases = {alias: at for alias, at in aliases.items() if at != version}
        elif kind == "undelete":
            deleted.discard(version)
        elif kind == "alias" and all(aliases.get(name) == at for name, at in (entry["expect"] or {}).items()):
            aliases = {name: at for name, at in aliases.items() if name not in entry["drop"]}
            aliases |= {name: at for name, at in entry["set"].items() if at < len(versions) and at not in deleted}
        assert kind in {"create", "commit", "fence", "delete", "undelete", "alias", "tag", "describe", "ttl", "keep"}
    return versions, aliases | {"latest": max(n for n in range(len(versions)) if n not in deleted)}


def restored(bucket, commit):
    """Return {path: (type, mode, bytes or target)} of a version."""

    def chunk(pack, frame):
        data = (bucket / "packs" / pack.hex()[:2] / pack.hex()).read_bytes()
        name, raw, codec, at, stored = frames_of(data, pack)[frame]
        content = decoded(codec, data[at : at + stored], raw)
        assert hashed(content) == name
        return content

    data = (bucket / commit["manifest"]).read_bytes()
    assert hashed(data) == commit["manifest_hash"]
    body = unsealed(data, b"SYNCDMF\x01")
    manifest, tree = msgpack.unpackb(decoded(body[0], body[5:], number(body, 1))), {}
    for ref in manifest["pages"]:
        page = chunk(ref[6], ref[7])
        assert hashed(page) == ref[9] and page.startswith(b"SYNCDPG\x01")
        packs, entries = msgpack.unpackb(page[8:])
        for path, kind, mode, size, digest, runs, target, *_ in entries:
            spans = [[number(runs, at + n) for n in (0, 4, 8)] for at in range(0, len(runs), 12)]
            pieces = [chunk(packs[pack], first + n) for pack, first, count in spans for n in range(count)]
            if kind == 0:
                listed = b"".join(len(piece).to_bytes(8, "little") + hashed(piece) for piece in pieces)
                assert hashed(b"syncd file 1\0", listed) == digest and sum(map(len, pieces)) == size
            tree[path] = (kind, mode, b"".join(pieces) if kind == 0 else target)
    assert (
        len(tree) == manifest["entries"]
        and hashed(b"syncd version 1\0", *(r[5] for r in manifest["pages"])) == manifest["digest"]
    )
    return tree


NOISE = b"".join(hashed(b"noise", bytes([i])) for i in range(12))
TEXT = b"the quick brown fox jumps over the lazy dog\n" * 20
FIRST = {
    b"caf\xe9 \xff\n.bin": (0, 0o600, NOISE),
    b"data/link": (1, 0o777, b"../model.bin"),
    b"data/remote": (3, 0o644, b"https://example.org/x"),
    b"data/table.csv": (0, 0o644, TEXT + NOISE[:100] + TEXT),
    b"empty": (0, 0o644, b""),
    b"hollow.bin": (0, 0o644, bytes(1000) + NOISE[100:200] + bytes(1000)),
    b"logs": (2, 0o755, b""),
    b"model.bin": (0, 0o755, NOISE),
}


def test_a_reader_made_from_the_text_alone_restores_every_version():
    versions, aliases = replay(entries_of_log(GOLDEN, "a/demo%20project/weights/log"))
    assert aliases == {"old": 0, "latest": 2}
    second = FIRST | {b"model.bin": (0, 0o755, NOISE[:256] + TEXT)}
    assert [restored(GOLDEN, version) for version in versions] == [FIRST, second, FIRST]


@pytest.mark.parametrize("log", ["reg/log", "r/demo%20project/run%201%2F%C3%BC/log", "a/demo%20project/ranks/log"])
def test_it_reads_the_chain_of_every_other_log(log):
    assert len(list(entries_of_log(GOLDEN, log))) >= 2


def test_it_sees_a_changed_pack(tmp_path):
    source = next((GOLDEN / "packs").rglob("[0-9a-f]" * 64))
    data = bytearray(source.read_bytes())
    data[-100] ^= 1
    with pytest.raises(AssertionError):
        frames_of(bytes(data), bytes.fromhex(source.name))
