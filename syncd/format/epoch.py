"""Collection's own objects: epochs, how they end, and the packs that a running upload still needs.

`gc/<epoch>` says what a collection wants to delete, `gc/<epoch>.done` what of that turned out to be needed after all.
The difference may be deleted by anybody, at any time, for ever: names never come back (keys.py, docs/decisions/0006).
`wip/<txn>.<n>` keeps an upload's packs from being condemned again and again; it decides nothing about safety.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from syncd.errors import Corrupt, InvalidInput
from syncd.format import keys, seal
from syncd.format.digest import HASH_BYTES

MAX_EPOCH = 16 << 20
MAX_WIP = 4 << 20
PACKS_LIMIT = 200_000
MANIFESTS_LIMIT = 40_000
QUARANTINED_LIMIT = 20_000
WIP_LIMIT = 1 << 16

EPOCH_MAGIC = seal.magic(b"SYNCDGC")
DONE_MAGIC = seal.magic(b"SYNCDGD")
WIP_MAGIC = seal.magic(b"SYNCDWP")
EPOCH_ROLE = "collection epoch"
DONE_ROLE = "end of a collection epoch"
WIP_ROLE = "list of packs in use"

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Number = Annotated[int, Meta(ge=1, lt=keys.SLOT_LIMIT)]
Name = Annotated[str, Meta(max_length=1000)]
Packs = Annotated[tuple[Hash, ...], Meta(max_length=PACKS_LIMIT)]
Manifests = Annotated[tuple[Name, ...], Meta(max_length=MANIFESTS_LIMIT)]


class Epoch(Struct, frozen=True, kw_only=True):
    """What a collection wants to delete.

    Attributes:
        epoch: its number; it must be that of the key.
        id: of the attempt that wrote it: who put it knows its own work by it (law L4).
        packs, manifests: condemned: ids of packs (32 bytes), keys of manifests. Sorted, none twice.
        quarantined: packs found damaged: not deleted, and not to be referred to by anything new.
        node, at: who and when (that node's clock); for people.
    """

    epoch: Number
    id: Name
    packs: Packs = ()
    manifests: Manifests = ()
    quarantined: Annotated[tuple[Hash, ...], Meta(max_length=QUARANTINED_LIMIT)] = ()
    node: Name = ""
    at: float = 0.0


class EpochDone(Struct, frozen=True, kw_only=True):
    """What of an epoch's condemned was referred to when no writer could refer to it any more: never deleted by it."""

    epoch: Number
    packs: Packs = ()
    manifests: Manifests = ()
    node: Name = ""
    at: float = 0.0


class WorkInProgress(Struct, frozen=True, kw_only=True):
    """Packs that the upload `txn` has stored, or refers to."""

    txn: Name
    packs: Annotated[tuple[Hash, ...], Meta(max_length=WIP_LIMIT)] = ()


_EPOCHS = msgspec.msgpack.Decoder(Epoch)
_DONES = msgspec.msgpack.Decoder(EpochDone)
_WIPS = msgspec.msgpack.Decoder(WorkInProgress)


def encode_epoch(epoch: Epoch) -> bytes:
    """Return the object under `gc_key(epoch.epoch)`; InvalidInput for one that no reader would take."""
    data = seal.seal(EPOCH_MAGIC, seal.pack_value(epoch))
    try:
        decode_epoch(data, epoch.epoch)
    except Corrupt as error:
        raise InvalidInput(f"the {EPOCH_ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def decode_epoch(data: bytes, number: int) -> Epoch:
    """Return the epoch under `gc_key(number)`; Corrupt for anything else."""
    body = seal.unseal(EPOCH_MAGIC, data, EPOCH_ROLE, MAX_EPOCH)
    with seal.reading(EPOCH_ROLE):
        epoch = _EPOCHS.decode(body)
        _check(epoch, number)
        _check_set(epoch.quarantined)
    return epoch


def encode_done(done: EpochDone) -> bytes:
    """Return the object under `gc_key(done.epoch, done=True)`; InvalidInput for one that no reader would take."""
    data = seal.seal(DONE_MAGIC, seal.pack_value(done))
    try:
        decode_done(data, done.epoch)
    except Corrupt as error:
        raise InvalidInput(f"the {DONE_ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def decode_done(data: bytes, number: int) -> EpochDone:
    """Return the end of the epoch `number`; Corrupt for anything else."""
    body = seal.unseal(DONE_MAGIC, data, DONE_ROLE, MAX_EPOCH)
    with seal.reading(DONE_ROLE):
        done = _DONES.decode(body)
        _check(done, number)
    return done


def encode_wip(wip: WorkInProgress) -> bytes:
    """Return the object under `wip_key(wip.txn, n)`; InvalidInput for one that no reader would take."""
    data = seal.seal(WIP_MAGIC, seal.pack_value(wip))
    try:
        decode_wip(data, wip.txn)
    except Corrupt as error:
        raise InvalidInput(f"the {WIP_ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def decode_wip(data: bytes, txn: str) -> WorkInProgress:
    """Return the list of the upload `txn`; Corrupt for anything else."""
    body = seal.unseal(WIP_MAGIC, data, WIP_ROLE, MAX_WIP)
    with seal.reading(WIP_ROLE):
        wip = _WIPS.decode(body)
        if wip.txn != keys.check_txn(txn):
            raise InvalidInput(f"it is that of transaction {wip.txn[:80]!r}")
    return wip


def _check(record: Epoch | EpochDone, number: int) -> None:
    if record.epoch != number:
        raise InvalidInput(f"it is that of epoch {record.epoch}")
    if not math.isfinite(record.at):
        raise InvalidInput("a time is not a number")
    _check_set(record.packs)
    _check_set(record.manifests)
    for manifest in record.manifests:
        keys.parse_manifest(manifest)


def _check_set(names: tuple[bytes, ...] | tuple[str, ...]) -> None:
    if any(before >= after for before, after in pairwise(names)):  # type: ignore[operator]
        raise InvalidInput("its names are not in order, or one is there twice")
