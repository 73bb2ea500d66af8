"""What was once written stays readable, and what is written today is what was written then."""

import hashlib
import re
import sys
from pathlib import Path

import pytest

from syncd.format import keys, log, manifest, pack, repo, seal
from syncd.format.digest import hash_bytes
from syncd.format.restore import check_file, chunks
from tests.kit import format_examples, golden_repository

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_OF_THEN = "1.5.7"
BUCKET = Path(__file__).parent.parent / "golden" / "v1" / "bucket"
STORED = {str(path.relative_to(BUCKET)): path.read_bytes() for path in BUCKET.rglob("*") if path.is_file()}
TEXT = (Path(__file__).parent.parent.parent / "docs" / "FORMAT.md").read_text()


def test_todays_encoders_write_the_bytes_of_then():
    written = golden_repository.build()
    if zstd.zstd_version != ZSTD_OF_THEN:  # another library may compress otherwise: then other packs, other entries
        alike = {key for key in STORED if key.startswith(("repo", "reg/", "r/"))}
        assert {key: written[key] for key in alike} == {key: STORED[key] for key in alike}
        assert len(written) == len(STORED)
        return
    assert written == STORED


def test_the_golden_bytes_themselves_never_change():
    digest = hashlib.sha256(b"".join(key.encode() + hash_bytes(STORED[key]) for key in sorted(STORED))).hexdigest()
    assert digest == "f4c5ef9b8fa17d9a1abb07030a4a81e6ddededfa8e7e1fbd5c1ea8a978a6ce23"


def test_todays_decoders_read_a_version_of_then():
    record = repo.decode_repo(STORED[keys.REPO])
    repo.require(record, write=True)
    name = keys.artifact_log(golden_repository.KEY)
    prev = log.genesis(record.repo_id, name)
    entries = []
    while data := STORED.get(keys.slot_key(name, len(entries))):
        entries.append(log.decode_entry(data))
        assert entries[-1].prev == prev
        prev = log.entry_hash(data)
    commit = next(entry for entry in entries if isinstance(entry, log.Commit))
    read = manifest.decode_manifest(STORED[commit.manifest], commit.manifest_hash)
    assert (read.chunker, read.digest, len(read.pages)) == (golden_repository.CHUNKER, commit.digest, 4)
    assert restored(read) == {
        path: (kind, mode, b"".join(what) if kind == manifest.FILE else what or b"")
        for path, (kind, mode, what) in golden_repository.V0.items()
    }


def restored(read):
    tables = {}
    for key, data in STORED.items():
        if key.startswith(keys.PACKS):
            tables[keys.parse_pack(key)] = pack.parse_tail(data, keys.parse_pack(key), len(data))

    def chunk(pack_id, frame):
        data = STORED[keys.pack_key(pack_id)]
        return pack.open_frame(frame, data[frame.offset : frame.offset + frame.stored_length])

    tree, order = {}, manifest.PathOrder()
    for ref in read.pages:
        page = manifest.open_page(ref, chunk(ref.pack, tables[ref.pack][ref.frame]), order)
        for entry in page.entries:
            content = entry.target
            if entry.type == manifest.FILE:
                check_file(entry, page, tables)
                content = b"".join(chunk(piece.pack, piece.frame) for piece in chunks(entry, page, tables))
            tree[entry.path] = (entry.type, entry.mode, content)
    return tree


def test_the_golden_logs_hold_every_kind_of_entry():
    kinds = {type(log.decode_entry(data)) for key, data in STORED.items() if "/log/" in key}
    assert kinds == set(log.ARTIFACT_KINDS + log.RUN_KINDS + log.REGISTRY_KINDS)


def test_the_golden_packs_hold_every_codec():
    frames = [frame for key, data in STORED.items() if key.startswith(keys.PACKS) for frame in pack.resync(data)]
    assert {frame.codec for frame in frames} == {0, 1, 2}


def hex_blocks():
    return [bytes.fromhex(block) for block in re.findall(r"```hex\n(.*?)```", TEXT, re.DOTALL)]


def test_the_worked_examples_of_the_text_are_what_the_code_writes():
    sealed = format_examples.example_pack()
    examples = [
        b"".join(bytes(part) for part in sealed.parts),
        format_examples.example_page(),
        format_examples.example_entry(),
    ]
    assert hex_blocks() == examples
    assert format_examples.example_repo().decode() in TEXT
    for hash_ in (
        sealed.pack,
        hash_bytes(examples[1]),
        log.entry_hash(examples[2]),
        log.decode_entry(examples[2]).prev,
    ):
        assert hash_.hex() in TEXT


def test_the_text_names_every_kind_field_and_magic():
    for kind in log.ARTIFACT_KINDS + log.RUN_KINDS + log.REGISTRY_KINDS:
        assert f"`{kind.__struct_config__.tag}`" in TEXT
        assert all(f"`{field}`" in TEXT for field in kind.__struct_fields__)
    fields = (
        manifest.Manifest.__struct_fields__ + manifest.PageRef.__struct_fields__ + repo.RepoRecord.__struct_fields__
    )
    assert all(f"`{field}`" in TEXT for field in fields)
    for magic in (pack.PACK_MAGIC, pack.TRAILER_MAGIC, log.ENTRY_MAGIC, manifest.MANIFEST_MAGIC, manifest.PAGE_MAGIC):
        assert magic.rstrip(b"\x01").decode() in TEXT


@pytest.mark.parametrize("limit", [pack.MAX_FRAMES, seal.codec.MAX_FRAME_RAW])
def test_the_text_names_the_limits(limit):
    assert f"{limit:,}" in TEXT
