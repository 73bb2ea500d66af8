"""The envelope of every small object: magic, format number, body, and a BLAKE3 over all of it.

The trailing hash is not about trust (whoever can write the object can seal it): it makes a flipped bit or a torn
object in the newest log slot, which nothing else vouches for yet, a clear error instead of strange data. What a
reader trusts is the chain of hashes that ends in a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from syncd.errors import Corrupt, InvalidInput
from syncd.format import codec
from syncd.format.digest import HASH_BYTES, hash_bytes

FORMAT = 1
LETTERS = 7
MAGIC_BYTES = LETTERS + 1

_SQUEEZED_HEAD = 5
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def magic(letters: bytes) -> bytes:
    """Return the 8 bytes an object starts with: 7 letters for its kind, one for the format number."""
    assert len(letters) == LETTERS
    return letters + bytes([FORMAT])


def pack_value(value: Any) -> bytes:
    """Return the msgpack of a value: maps sorted, integers in their shortest form, so equal values are equal bytes.

    Raises:
        InvalidInput: something in it has no msgpack form (an integer beyond 64 bits, half a surrogate pair ...).
    """
    try:
        return _ENCODER.encode(value)
    except (msgspec.MsgspecError, TypeError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidInput("a value cannot be stored", str(error)) from error


def seal(head: bytes, body: bytes) -> bytes:
    """Return the object: `head` (of `magic`), body, hash of both."""
    return head + body + hash_bytes(head, body)


def unseal(head: bytes, data: bytes, role: str, limit: int) -> memoryview:
    """Return the body of a sealed object.

    Raises:
        Corrupt: not this kind of object, another format, longer than `limit` bytes, cut short, or changed.
    """
    if len(data) > limit:
        raise Corrupt(f"the {role} is too long", f"{len(data)} bytes; at most {limit} are read")
    check_magic(head, data, role)
    if len(data) < len(head) + HASH_BYTES:
        raise Corrupt(f"the {role} is cut short", f"only {len(data)} bytes are there")
    view = memoryview(data)
    if hash_bytes(view[:-HASH_BYTES]) != view[-HASH_BYTES:]:
        raise Corrupt(f"the {role} is damaged", "its bytes do not match the hash at its end")
    return view[len(head) : -HASH_BYTES]


def check_magic(head: bytes, data: bytes, role: str) -> None:
    """Raise Corrupt unless `data` starts with `head`; another format number is named."""
    if data[: len(head)] == head:
        return
    if data[:LETTERS] == head[:LETTERS] and len(data) > LETTERS:
        raise newer(role, f"format {data[LETTERS]}")
    raise Corrupt(f"the {role} is not one", f"it starts with {data[:MAGIC_BYTES].hex() or 'nothing'}")


def newer(role: str, what: str) -> Corrupt:
    """Return the error for something this program does not know, but a later one may."""
    return Corrupt(f"the {role} uses {what}", "written by a newer syncd, or damaged", "update syncd on this node")


def squeeze(body: bytes) -> bytes:
    """Return `body` behind a codec byte and its length, compressed where that helps.

    Raises:
        InvalidInput: longer than what a reader takes.
    """
    if len(body) > codec.MAX_FRAME_RAW:
        raise InvalidInput(f"an object of {len(body)} bytes is too large", f"at most {codec.MAX_FRAME_RAW} are read")
    number, stored = codec.encode(memoryview(body), True)
    return bytes([number]) + len(body).to_bytes(4, "little") + stored


def expand(body: memoryview, role: str) -> bytes:
    """Return what `squeeze` was given; Corrupt for anything else. Never makes more bytes than the cap."""
    if len(body) < _SQUEEZED_HEAD:
        raise Corrupt(f"the {role} is cut short", "its codec and length are missing")
    length = int.from_bytes(body[1:_SQUEEZED_HEAD], "little")
    if length > codec.MAX_FRAME_RAW:
        raise Corrupt(f"the {role} is too long", f"{length} bytes unpacked; at most {codec.MAX_FRAME_RAW} are read")
    return codec.decode(body[0], body[_SQUEEZED_HEAD:], length)


@contextmanager
def reading(role: str) -> Iterator[None]:
    """Turn what decoders and name checks raise into Corrupt naming the object's role."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise Corrupt(f"the {role} is malformed", str(error)) from error
    except InvalidInput as error:
        raise Corrupt(f"the {role} holds what cannot be", f"{error.what}: {error.why}") from error
