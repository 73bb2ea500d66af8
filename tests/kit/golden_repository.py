"""A small repository with every kind of object, built from fixed inputs: what tests/golden/v1/bucket holds.

`python -m tests.kit.golden_repository DIR` writes it into an empty directory; done once per released format.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syncd.format import codec, keys, log, manifest, pack, repo
from syncd.format.builder import Located, ManifestBuilder, locate
from syncd.format.chunker import Params
from syncd.format.digest import file_digest, hash_bytes
from syncd.model.names import ArtifactKey

KEY = ArtifactKey("demo project", "weights")
RANKS = ArtifactKey("demo project", "ranks")
RUN = "run 1/ü"
REPO_ID = "golden-repository-1"
CHUNKER = Params("quad16-1", 64, 128, 1024)
PAGES = manifest.PageParams(average=3, maximum=4)
AT = 1750000000.5

TEXT = b"the quick brown fox jumps over the lazy dog\n" * 20
NOISE = b"".join(hash_bytes(b"noise", bytes([i])) for i in range(12))
# name -> (type, mode, pieces or target)
V0: dict[bytes, tuple[int, int, Any]] = {
    b"caf\xe9 \xff\n.bin": (manifest.FILE, 0o600, [NOISE]),
    b"data/link": (manifest.SYMLINK, 0o777, b"../model.bin"),
    b"data/remote": (manifest.REFERENCE, 0o644, b"https://example.org/x"),
    b"data/table.csv": (manifest.FILE, 0o644, [TEXT, NOISE[:100], TEXT]),
    b"empty": (manifest.FILE, 0o644, []),
    b"hollow.bin": (manifest.FILE, 0o644, [bytes(1000), NOISE[100:200], bytes(1000)]),
    b"logs": (manifest.DIRECTORY, 0o755, None),
    b"model.bin": (manifest.FILE, 0o755, [NOISE[:256], NOISE[256:]]),
}
HALF = {b"part-0.bin": (manifest.FILE, 0o644, [NOISE])}
V1 = V0 | {b"model.bin": (manifest.FILE, 0o755, [NOISE[:256], TEXT])}


class Golden:
    """Collects objects; every id, time and nonce is fixed."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._packs = 0
        self._places: dict[bytes, tuple[bytes, int]] = {}
        self._heads: dict[str, tuple[int, bytes]] = {}

    def store(self, chunks: Sequence[bytes]) -> None:
        """Put the chunks that are new into one pack."""
        self._packs += 1
        builder = pack.PackBuilder(bytes([self._packs]) * pack.NONCE_BYTES)
        new = [c for c in dict.fromkeys(chunks) if hash_bytes(c) not in self._places]
        for chunk in new:
            number, payload = codec.encode(memoryview(chunk), True)
            builder.add(hash_bytes(chunk), len(chunk), number, payload)
        if new:
            sealed = builder.seal()
            self.objects[keys.pack_key(sealed.pack)] = b"".join(bytes(part) for part in sealed.parts)
            self._places |= {frame.hash: (sealed.pack, n) for n, frame in enumerate(sealed.frames)}

    def version(self, tree: dict[bytes, tuple[int, int, Any]], txn: str) -> dict[str, Any]:
        """Store a version's chunks, pages and manifest; return what a commit says of it."""
        self.store([piece for kind, _, pieces in tree.values() if kind == manifest.FILE for piece in pieces])
        builder = ManifestBuilder(PAGES)
        built = [builder.add(*self._entry(path, *tree[path])) for path in sorted(tree)] + [builder.finish()]
        pages = [page for page in built if page]
        self.store([page.data for page in pages])
        for page in pages:
            builder.placed(page.hash, *self._places[page.hash])
        made = builder.manifest(KEY.project, KEY.name, "model", txn, CHUNKER)
        data = manifest.encode_manifest(made)
        key = keys.manifest_key(made.digest, txn)
        self.objects[key] = data
        return {
            "manifest": key,
            "manifest_hash": manifest.manifest_hash(data),
            "manifest_size": len(data),
            "digest": made.digest,
            "entries": made.entries,
            "files": made.files,
            "size": made.size,
        }

    def append(self, to: str, kind: type[Any], txn: str, **facts: Any) -> None:
        """Append an entry to a log."""
        slot, prev = self._heads.get(to, (0, log.genesis(REPO_ID, to)))
        data = log.encode_entry(kind(txn=txn, prev=prev, node="node-a", at=AT + slot, **facts))
        self.objects[keys.slot_key(to, slot)] = data
        self._heads[to] = (slot + 1, log.entry_hash(data))

    def _entry(self, path: bytes, kind: int, mode: int, what: Any) -> tuple[manifest.Entry, Sequence[Located]]:
        if kind != manifest.FILE:
            return manifest.Entry(path, kind, mode, 0, b"", target=what or b""), ()
        digest = file_digest((len(piece), hash_bytes(piece)) for piece in what)
        entry = manifest.Entry(path, kind, mode, sum(map(len, what)), digest)
        return entry, locate(self._places[hash_bytes(piece)] for piece in what)


def build() -> dict[str, bytes]:
    """Return the objects of the repository by key."""
    golden = Golden()
    record = repo.RepoRecord(
        repo_id=REPO_ID, chunker=CHUNKER, pages=PAGES, pack_target=1 << 20, created_by="syncd golden"
    )
    golden.objects[keys.REPO] = repo.encode_repo(record)
    _registry_and_run(golden)
    v0, v1 = golden.version(V0, "tx-v0"), golden.version(V1, "tx-v1")
    _weights(golden, v0, v1)
    _ranks(golden, v0, v1)
    golden.objects[keys.use_key(KEY, 0, RUN)] = b""
    return golden.objects


def _registry_and_run(golden: Golden) -> None:
    registry, run = keys.REGISTRY_LOG, keys.run_log(KEY.project, RUN)
    golden.append(registry, log.Register, "tx-reg", project=KEY.project, name=KEY.name, type="model")
    golden.append(registry, log.Register, "tx-reg2", project=RANKS.project, name=RANKS.name, type="model")
    golden.append(registry, log.Fence, "tx-fence", epoch=1)
    golden.append(run, log.Start, "tx-start", project=KEY.project, run=RUN, name="first", config={"lr": 0.1})
    golden.append(run, log.Finish, "tx-finish", exit_code=0)


def _weights(golden: Golden, v0: dict[str, Any], v1: dict[str, Any]) -> None:
    artifact = keys.artifact_log(KEY)
    offer = {"aliases": ("best",), "tags": ("a tag",), "metadata": {"loss": 0.25, "deep": {"x": [1, None, True, "é"]}}}
    golden.append(artifact, log.Create, "tx-create", type="model", description="what it is")
    golden.append(
        artifact, log.Commit, "tx-v0", **v0, **offer, description="first", run=RUN, run_project=KEY.project,
        inputs=("demo project/data:v3",),
    )  # fmt: skip
    golden.append(artifact, log.Commit, "tx-v1", **v1, gc_seen=0)
    golden.append(artifact, log.Commit, "tx-same", **v1, aliases=("again",))
    golden.append(artifact, log.Alias, "tx-alias", set={"best": 1, "old": 0}, expect={"best": 0, "old": None})
    golden.append(artifact, log.Alias, "tx-loser", set={"best": 0}, expect={"best": 0})
    golden.append(artifact, log.Tag, "tx-tag", version=0, add=("kept",), drop=("a tag",))
    golden.append(artifact, log.Describe, "tx-describe", version=0, description="the first", metadata={"loss": 0.2})
    golden.append(artifact, log.Ttl, "tx-ttl", version=1, seconds=3600)
    golden.append(artifact, log.Keep, "tx-keep", version=0, reason="published")
    golden.append(artifact, log.Delete, "tx-refused", version=1, unless_aliased=True)
    golden.append(artifact, log.Delete, "tx-delete", version=1)
    golden.append(artifact, log.Undelete, "tx-undelete", version=1)
    golden.append(artifact, log.Fence, "tx-fence", epoch=1)
    golden.append(artifact, log.Commit, "tx-late", **v0, gc_seen=0, aliases=("never",))
    golden.append(artifact, log.Commit, "tx-v2", **v0, gc_seen=1)


def _ranks(golden: Golden, v0: dict[str, Any], v1: dict[str, Any]) -> None:
    artifact = keys.artifact_log(RANKS)
    first, again = golden.version(HALF, "tx-part"), golden.version(HALF, "tx-rebase")
    golden.append(artifact, log.Create, "tx-create", type="model")
    golden.append(artifact, log.Part, "tx-p0", **first, group="step 100", index=0, of=2)
    whole = log.Whole(**golden.version(V1 | HALF, "tx-p1"))
    golden.append(artifact, log.Part, "tx-p1", **v1, group="step 100", index=1, of=2, aliases=("whole",), whole=whole)
    golden.append(artifact, log.Part, "tx-q0", **first, group="step 200", index=0, of=2)
    golden.append(artifact, log.Abort, "tx-abort", group="step 200", reason="rank 1 died")
    source = {"source_project": KEY.project, "source_name": KEY.name, "source_version": 0}
    golden.append(artifact, log.Link, "tx-link", **v0, **source, aliases=("linked",))
    golden.append(artifact, log.Unlink, "tx-unlink", version=1)
    golden.append(artifact, log.Commit, "tx-half", **first)
    golden.append(artifact, log.Rebase, "tx-rebase", **again, version=2)
    golden.append(artifact, log.Rule, "tx-rule", name="newest", spec={"keep_last": 5})


def write(root: Path) -> None:
    """Write the repository below a directory that is empty or not there."""
    for key, data in build().items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
