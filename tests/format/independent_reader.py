"""A second reader of buckets, in sixty lines written from docs/FORMAT.md alone; it imports nothing of syncd.

    versions, aliases = replay(log(Path("/the/remote"), "a/my%20project/weights/log"))
    restore(Path("/the/remote"), versions[aliases["latest"]], Path("/out"))

All is checked on the way, from the log's chain to each chunk; damage is an AssertionError. What it does not carry out
(parts, links, rebases) it refuses, as the text asks. A test holds it to sixty lines, imports and all.
"""

import importlib.util
import json
from struct import iter_unpack

import msgpack
from blake3 import blake3

zstd = importlib.import_module("compression.zstd" if importlib.util.find_spec("compression") else "backports.zstd")
DECODED = {0: lambda data, _: data, 1: lambda data, _: zstd.decompress(data), 2: lambda _, length: bytes(length)}
KINDS = ("create", "commit", "fence", "delete", "undelete", "alias", "tag", "describe", "ttl", "keep", "rule")


def log(bucket, key):  # sections 2 and 6: the entries of a log
    repo = json.loads((bucket / "repo.json").read_bytes())
    assert (repo["format"], repo["hash"], repo["read_features"]) == (1, "blake3", [])
    slot, prev = 0, blake3(f"syncd log 1\0{repo['repo_id']}\0{key}".encode()).digest()
    while (path := bucket / key / f"{slot:020}").exists():
        data = path.read_bytes()
        entry = msgpack.unpackb(data[8:-32])
        assert data[:8] == b"SYNCDLE\1" and blake3(data[:-32]).digest() == data[-32:] and entry["prev"] == prev
        slot, prev = slot + 1, blake3(data).digest()
        yield entry


def replay(entries):  # section 6: the commits by version, and where each alias points
    versions, shown, aliases, seen, fence = [], set(), {}, {}, 0
    for entry in ({"drop": [], "set": {}} | entry for entry in entries):
        kind, version, expect = entry["kind"], entry.get("version"), entry.get("expect") or {}
        assert kind in KINDS, f"{kind} is not carried out here"
        if (kind == "commit" and entry["gc_seen"] < fence) or seen.setdefault(entry["txn"], entry) is not entry:
            continue  # rules 1 and 2
        fence = max(fence, entry.get("epoch", 0))
        if kind == "commit" and (not shown or versions[max(shown)]["digest"] != entry["digest"]):
            versions, shown = [*versions, entry], shown | {len(versions)}
        elif kind in ("delete", "undelete") and not (entry.get("unless_aliased") and version in aliases.values()):
            shown = shown - {version} if kind == "delete" else shown | {version}
        elif kind == "alias" and all(aliases.get(name) == at for name, at in expect.items()):
            aliases |= dict.fromkeys(entry["drop"]) | {name: at for name, at in entry["set"].items() if at in shown}
        aliases |= dict.fromkeys(entry.get("aliases", ()), max(shown, default=0))  # a commit's alone
        aliases = {name: at for name, at in aliases.items() if at in shown}
    return versions, aliases | {"latest": max(shown)}


def chunk(bucket, pack, number):  # sections 3 and 4
    data = (bucket / "packs" / pack.hex()[:2] / pack.hex()).read_bytes()
    index = data[-64 - int.from_bytes(data[-44:-40], "little") : -64]
    assert blake3(b"SYNCDPAK\1\0\0\0\0\0\0\0" + data[-64:-48] + index).digest() == pack
    *before, (raw, stored, codec, _, _, name) = list(iter_unpack("<IIBBH32s", index))[: number + 1]
    start = 32 + 48 * (number + 1) + sum(row[1] for row in before)
    content = DECODED[codec](data[start : start + stored], raw)
    assert blake3(content).digest() == name
    return content


def restore(bucket, commit, root):  # section 5
    data = (bucket / commit["manifest"]).read_bytes()
    assert blake3(data).digest() == commit["manifest_hash"]
    manifest = msgpack.unpackb(DECODED[data[8]](data[13:-32], int.from_bytes(data[9:13], "little")))
    for page in manifest["pages"]:
        packs, entries = msgpack.unpackb(chunk(bucket, *page[6:8])[8:])
        for path, kind, mode, _size, _digest, runs, target, *_ in entries:
            place = root.resolve() / str(b"./" + path, "utf-8", "surrogateescape")
            assert place.resolve() == place  # no "..", and no link on the way
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == 0:
                chunks = [chunk(bucket, packs[p], f + i) for p, f, n in iter_unpack("<III", runs) for i in range(n)]
                place.write_bytes(b"".join(chunks))
                place.chmod(mode)
            elif kind in (1, 2):
                place.symlink_to(str(target, "utf-8", "surrogateescape")) if kind == 1 else place.mkdir(mode)
