"""The worked examples of docs/FORMAT.md, built by the code; a test compares them with the text."""

from __future__ import annotations

from syncd.format import codec, keys, log, manifest, pack, repo
from syncd.format.chunker import Params
from syncd.format.digest import file_digest, hash_bytes
from syncd.model.names import ArtifactKey

CHUNK = b"abc"
NONCE = bytes(range(16))
CHUNKER = Params("quad16-1", 65536, 262144, 2097152)


def example_repo() -> bytes:
    return repo.encode_repo(repo.RepoRecord(repo_id="example-1", chunker=CHUNKER, created_by="syncd 0.1.0"))


def example_pack() -> pack.Sealed:
    builder = pack.PackBuilder(NONCE)
    builder.add(hash_bytes(CHUNK), len(CHUNK), codec.RAW, CHUNK)
    return builder.seal()


def example_page() -> bytes:
    digest = file_digest([(3, hash_bytes(CHUNK))])
    entry = manifest.Entry(b"a.txt", manifest.FILE, 0o644, 3, digest, (manifest.Run(0, 0, 1),))
    link = manifest.Entry(b"b", manifest.SYMLINK, 0o777, 0, b"", target=b"a.txt")
    return manifest.encode_page(manifest.Page((example_pack().pack,), (entry, link)))


def example_entry() -> bytes:
    prev = log.genesis("example-1", keys.artifact_log(ArtifactKey("p", "n")))
    return log.encode_entry(log.Create(txn="tx1", prev=prev, node="node-a", at=1.5, type="model"))


def hexdump(data: bytes) -> str:
    return "\n".join(data[at : at + 32].hex(" ", -4) for at in range(0, len(data), 32))


if __name__ == "__main__":
    sealed = example_pack()
    print(example_repo().decode())
    print("pack", sealed.pack.hex())
    for part in sealed.parts:
        print(hexdump(bytes(part)), "\n")
    print("page", hash_bytes(example_page()).hex())
    print(hexdump(example_page()))
    page = manifest.decode_page(example_page(), hash_bytes(example_page()))
    print("tree", manifest.page_tree(page.entries).hex())
    print("version", manifest.version_digest([manifest.page_tree(page.entries)]).hex())
    print("file", page.entries[0].digest.hex())
    print("entry", log.entry_hash(example_entry()).hex())
    print(hexdump(example_entry()))
    print("genesis", log.decode_entry(example_entry()).prev.hex())
