"""Epochs, their ends and lists of packs in use: golden bytes, every promise of the decoders, hostile bytes."""

from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import Corrupt, InvalidInput
from syncd.format import epoch as e
from syncd.format import keys, seal
from syncd.format.digest import hash_bytes
from syncd.format.pack import pack_nonce

STORED = Path(__file__).parent.parent / "golden" / "v1" / "collection"
TEXT = (Path(__file__).parent.parent.parent / "docs" / "FORMAT.md").read_text()
PACKS = tuple(sorted(hash_bytes(b"pack", bytes([n])) for n in range(4)))
MANIFESTS = tuple(sorted((keys.manifest_key(PACKS[0], "tx-a"), keys.manifest_key(PACKS[1], "tx-b", 2))))
EPOCH = e.Epoch(
    epoch=3, id="an-attempt", packs=PACKS[:3], manifests=MANIFESTS, quarantined=PACKS[3:], node="node-a",
    at=1750000000.5,
)  # fmt: skip
DONE = e.EpochDone(epoch=3, packs=PACKS[1:2], manifests=MANIFESTS[1:], node="node-b", at=1750000001.5)
WIP = e.WorkInProgress(txn="tx-w", packs=PACKS[::-1])
OBJECTS = {
    keys.gc_key(3): e.encode_epoch(EPOCH),
    keys.gc_key(3, done=True): e.encode_done(DONE),
    keys.wip_key("tx-w", 0): e.encode_wip(WIP),
}
READ = {
    "epoch": (lambda data: e.decode_epoch(data, 3), e.encode_epoch, OBJECTS[keys.gc_key(3)], e.EPOCH_MAGIC),
    "done": (lambda data: e.decode_done(data, 3), e.encode_done, OBJECTS[keys.gc_key(3, done=True)], e.DONE_MAGIC),
    "wip": (lambda data: e.decode_wip(data, "tx-w"), e.encode_wip, OBJECTS[keys.wip_key("tx-w", 0)], e.WIP_MAGIC),
}
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(root=STORED):
    """Write the golden objects; done once for a released format: `python -m tests.format.test_epochs`."""
    for key, data in OBJECTS.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        with (root / key).open("xb") as file:
            file.write(data)


def test_what_is_written_today_is_what_was_written_then():
    stored = {str(path.relative_to(STORED)): path.read_bytes() for path in STORED.rglob("*") if path.is_file()}
    assert stored == OBJECTS
    assert hash_bytes(*(stored[key] for key in sorted(stored))).hex() == GOLDEN


def test_what_was_written_is_read_back():
    assert [decode(data) for decode, _, data, _ in READ.values()] == [EPOCH, DONE, WIP]


@pytest.mark.parametrize("kind", READ)
@QUICK
@given(data=st.data())
def test_other_bytes_are_corrupt_or_keep_every_promise(kind, data):
    decode, encode, true, magic = READ[kind]
    changed = bytearray(true[8:-32])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    for candidate in (
        seal.seal(magic, bytes(changed)),
        bytes(changed),
        true[: data.draw(st.integers(0, len(true) - 1))],
    ):
        try:
            value = decode(candidate)
        except Corrupt as error:
            assert error.what
        else:
            assert decode(encode(value)) == value


@pytest.mark.parametrize("kind", READ)
def test_every_flipped_bit_is_corrupt(kind):
    decode, _, true, _ = READ[kind]
    for at in range(0, len(true) * 8, 7):
        flipped = bytearray(true)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(Corrupt):
            decode(bytes(flipped))


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 4}, {"epoch": 0}, {"packs": [PACKS[1], PACKS[0]]}, {"packs": [PACKS[0], PACKS[0]]},
        {"packs": [b"short"]}, {"manifests": ["packs/00/0"]}, {"at": float("nan")}, {"manifests": [MANIFESTS[1]] * 2},
        {"packs": [bytes(32)] * (e.PACKS_LIMIT + 1)},
    ],
)  # fmt: skip
def test_what_cannot_be_is_corrupt(change):
    for kind in ("epoch", "done"):
        decode, _, true, magic = READ[kind]
        fields = msgpack.unpackb(true[8:-32]) | change
        with pytest.raises(Corrupt):
            decode(seal.seal(magic, msgpack.packb(fields)))


def test_a_list_of_another_upload_is_corrupt():
    with pytest.raises(Corrupt, match="cannot be"):
        e.decode_wip(OBJECTS[keys.wip_key("tx-w", 0)], "tx-other")


def test_what_no_reader_would_take_is_not_written():
    with pytest.raises(InvalidInput):
        e.encode_epoch(e.Epoch(epoch=1, id="x", packs=PACKS[::-1]))
    with pytest.raises(InvalidInput):
        keys.gc_key(0)


def test_the_largest_records_fit_their_limits():
    packs = tuple(n.to_bytes(32, "big") for n in range(e.PACKS_LIMIT))
    key = "x" * 52
    manifests = tuple(keys.manifest_key(n.to_bytes(32, "big"), key, 10**9) for n in range(e.MANIFESTS_LIMIT))
    whole = e.Epoch(epoch=1, id="x", packs=packs, manifests=manifests, quarantined=packs[: e.QUARANTINED_LIMIT])
    assert len(e.encode_epoch(whole)) <= e.MAX_EPOCH
    assert len(e.encode_wip(e.WorkInProgress(txn="x", packs=packs[: e.WIP_LIMIT]))) <= e.MAX_WIP


def test_names_carry_the_epoch_and_are_those_of_before_without_one():
    assert keys.manifest_key(PACKS[0], "tx", 0) == keys.manifest_key(PACKS[0], "tx")
    assert keys.parse_manifest(keys.manifest_key(PACKS[0], "tx", 12)) == (PACKS[0], "tx-e12")
    assert pack_nonce("tx", 0) == hash_bytes(b"syncd pack nonce", b"tx")[:16]
    assert pack_nonce("tx", 12) == hash_bytes(b"syncd pack nonce", b"tx 12")[:16]
    assert keys.parse_wip(keys.wip_key("tx-w", 7)) == "tx-w"
    for wrong in ("wip/tx-w", "wip/a b.1", "wip/tx.x"):
        with pytest.raises(Corrupt):
            keys.parse_wip(wrong)


def test_the_text_names_every_field_magic_and_limit():
    section = TEXT.partition("## 7. Collection")[2].partition("\n## ")[0]
    for shape in (e.Epoch, e.EpochDone, e.WorkInProgress):
        assert all(f"`{field}`" in section for field in shape.__struct_fields__)
    for magic in (e.EPOCH_MAGIC, e.DONE_MAGIC, e.WIP_MAGIC):
        assert magic[:7].decode() in section
    for limit in (e.PACKS_LIMIT, e.MANIFESTS_LIMIT, e.QUARANTINED_LIMIT, e.WIP_LIMIT):
        assert f"{limit:,}" in section


GOLDEN = "d2eabecd8096fb871f0cbe6469be3c1cef8e6c1c8b6de94d3e73dae450ee2d11"

if __name__ == "__main__":
    write()
