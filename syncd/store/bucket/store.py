"""The verbs of a Store on a bucket.

Whose bytes: a put lends its buffers to the library without a copy. A cancelled put is over at once for the store, but
the library lets go of the buffers up to some 50 ms later, from a thread of its own; were they used again by then, other
bytes than those named could be sent. So the verb ends only when every buffer has come back (`_Loan`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import obstore
from obstore.exceptions import BaseError

from syncd.clock import Clock
from syncd.errors import InvalidInput, NotFound, RemoteUnavailable, SyncdError
from syncd.model.buffer import Buffer
from syncd.store.address import RemoteAddress
from syncd.store.base import RESERVED, Capabilities, ObjectInfo, check_key, check_prefix, cut_range, size_of
from syncd.store.bucket.answers import Answer, read_answer, translate
from syncd.store.bucket.clients import Clients, build

T = TypeVar("T")

MIB = 1 << 20
_NEVER_THERE = f"{RESERVED}/never"
_RETURN_S = 0.001
_FOREIGN = (BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may take: `base_s` seconds and `each_mib_s` more for every MiB it carries.

    The default bears a line of 35 KB a second for each request.
    """

    base_s: float = 30.0
    each_mib_s: float = 30.0

    def seconds(self, size: int) -> float:
        """Return the limit for a request that carries `size` bytes."""
        return self.base_s + self.each_mib_s * size / MIB


class BucketStore:
    """A bucket, or what lies below a prefix in it.

    Args:
        address: of kind s3, gs or az.
        build: makes the library's objects; called again when the store says that the credentials have expired.
        clock: for waiting on the library; no decision rests on it.
    """

    def __init__(
        self, address: RemoteAddress, build: Callable[[], Clients], clock: Clock, patience: Patience | None = None
    ) -> None:
        self.capabilities = Capabilities(kind=address.kind)
        self._address = address
        self._build = build
        self._clock = clock
        self._patience = patience or Patience()
        self._clients = build()
        self._witness = ""
        self._hides_absence: bool | None = None

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        check_key(key)
        cut_range(0, offset, length)  # refuses a negative length
        if length == 0:
            await self.stat(key)
            return b""
        if offset < 0:
            return await self._get_end(key, -offset, length)
        if length is not None:
            return await self._read("get", key, length, lambda at: _range(at, key, offset, length))
        return await self._read("get", key, None, lambda at: _open(at, key, {"offset": offset} if offset else None))

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        check_key(key)
        await self._write("put", key, parts, lambda at, lent: obstore.put_async(at, key, lent, use_multipart=False))

    async def create(self, key: str, data: Buffer) -> None:
        """See Store. One request, whatever is answered."""
        check_key(key)
        await self._write(
            "create",
            key,
            [data],
            lambda at, lent: obstore.put_async(at, key, lent, mode="create", use_multipart=False),
        )

    async def stat(self, key: str) -> ObjectInfo:
        """See Store."""
        check_key(key)
        meta = await self._read("stat", key, 0, lambda at: obstore.head_async(at, key))
        return ObjectInfo(key, meta["size"], meta["last_modified"].timestamp())

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store. Held whole before the first is given: some stores list unsorted, some ignore where to begin."""
        segments, _ = check_prefix(prefix)
        parent = "/".join(segments)
        found: list[ObjectInfo] = []
        listing = obstore.list(self._clients.patient, parent or None, chunk_size=1000)
        while True:
            metas = await self._ask("list", prefix, 0, lambda _: _next(listing))
            if metas is None:
                break
            found += [
                ObjectInfo(meta["path"], meta["size"], meta["last_modified"].timestamp())
                for meta in metas
                if meta["path"].startswith(prefix) and _is_key(meta["path"])
            ]
        for info in sorted(found, key=lambda info: info.key):
            yield info

    async def delete(self, key: str) -> None:
        """See Store."""
        check_key(key)
        try:
            await self._ask("delete", key, 0, lambda clients: obstore.delete_async(clients.once, key))
        except NotFound:
            return

    async def close(self) -> None:
        """See Store. The library closes its connections when its objects go; nothing waits here."""

    async def _get_end(self, key: str, count: int, length: int | None) -> bytes:
        if self._address.kind == "az":  # has no range from the end
            start, rest = cut_range((await self.stat(key)).size, -count, length)
            return await self.get(key, start, rest)
        data = await self._read("get", key, count, lambda at: _open(at, key, {"suffix": count}))
        return data if length is None else data[:length]

    async def _write(
        self, verb: str, key: str, parts: Sequence[Buffer], call: Callable[[Any, Iterable[Buffer]], Awaitable[Any]]
    ) -> None:
        with_bytes = _Loan(parts, self._clock)
        try:
            await self._ask(verb, key, size_of(parts), lambda clients: call(clients.once, with_bytes.lent))
        finally:
            await with_bytes.returned()

    async def _read(self, verb: str, key: str, size: int | None, call: Callable[[Any], Awaitable[T]]) -> T:
        """Ask for an object, knowing that a store may answer "forbidden" for what is not there."""
        try:
            found = await self._ask(verb, key, size, lambda clients: call(clients.patient))
        except _Forbidden as refused:
            if await self._absence_is_hidden():
                raise NotFound(f"no such object: {key}") from None
            raise refused.error from None
        self._witness = self._witness or key
        return found

    async def _absence_is_hidden(self) -> bool:
        """Whether "forbidden" means "not there": said to those who may read but not list, for what is missing.

        Yes only if it is also said of a key that cannot exist, and an object that was read before can still be read.
        """
        if not self._witness:
            return False
        try:
            if not self._hides_absence:
                await self._ask("stat", _NEVER_THERE, 0, lambda at: obstore.head_async(at.patient, _NEVER_THERE))
        except NotFound:
            return False
        except _Forbidden:
            self._hides_absence = True
        witness = self._witness
        try:
            await self._ask("stat", witness, 0, lambda clients: obstore.head_async(clients.patient, witness))
        except (NotFound, _Forbidden):
            return False
        return bool(self._hides_absence)

    async def _ask(self, verb: str, key: str, size: int | None, call: Callable[[Clients], Awaitable[T]]) -> T:
        """Make one request within its time; a failure becomes one of ours, with no cause that could tell secrets."""
        seconds = self._patience.seconds(size or 0) if size is not None else None
        clients = self._clients
        try:
            async with asyncio.timeout(seconds):
                return await call(clients)
        except TimeoutError:
            raise RemoteUnavailable(
                f"cannot {verb} {key or 'keys'}", f"no answer within {seconds:.0f} s", "it is tried again"
            ) from None
        except _FOREIGN as error:
            raise self._told(read_answer(error), verb, key, clients) from None

    def _told(self, answer: Answer, verb: str, key: str, clients: Clients) -> SyncdError:
        if clients.keys is not None and clients.keys.trouble is not None:
            return clients.keys.trouble
        if answer.expired and clients is self._clients:
            self._clients = self._build()  # forgets what was kept: the next try asks for credentials anew
        if verb == "delete" and answer.status == 404 and answer.code in ("", "NoSuchKey", "BlobNotFound"):
            return NotFound(f"no such object: {key}")
        error = translate(answer, verb, key, self._address.url)
        if verb in ("get", "stat") and answer.forbidden:
            return _Forbidden(error)
        return error


class _Forbidden(SyncdError):
    """A read was answered 403 without a reason. Never leaves this module."""

    def __init__(self, error: SyncdError) -> None:
        super().__init__(error.what, error.why, error.hint)
        self.error = error


class _Loan:
    """Buffers handed to the library, and the wait until it has let go of all of them.

    A memoryview cannot be released while somebody holds it: that tells. `bytes` never change and are lent for good.
    """

    def __init__(self, parts: Sequence[Buffer], clock: Clock) -> None:
        self._clock = clock
        self._views = [memoryview(part).cast("B") for part in parts if not isinstance(part, bytes) and len(part)]
        views = iter(self._views)
        lent = [part if isinstance(part, bytes) else next(views) for part in parts if len(part)]
        self.lent: Iterable[Buffer] = lent or [b""]

    async def returned(self) -> None:
        """Return when the buffers are the caller's again; a cancellation meanwhile is kept for afterwards."""
        cancelled: asyncio.CancelledError | None = None
        while not self._released():
            try:
                await self._clock.sleep(_RETURN_S)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled

    def _released(self) -> bool:
        try:
            for view in self._views:
                view.release()
        except BufferError:
            return False
        return True


def open_bucket(
    address: RemoteAddress, clock: Clock, environ: Mapping[str, str] | None = None, patience: Patience | None = None
) -> BucketStore:
    """Return the store for a bucket's address. Asks nobody yet.

    Args:
        environ: where credentials are looked for; the library itself also looks into the process's own.

    Raises:
        RemoteRefused: what address and environment say cannot be used.
    """
    known = os.environ if environ is None else environ
    return BucketStore(address, lambda: build(address, known, clock), clock, patience)


async def _range(at: Any, key: str, offset: int, length: int) -> bytes:
    try:
        return bytes(await obstore.get_range_async(at, key, start=offset, length=length))
    except BaseError as error:
        return _beyond(error)


async def _open(at: Any, key: str, span: dict[str, int] | None) -> bytes:
    try:
        options: Any = {"range": span} if span else {}
        found = await obstore.get_async(at, key, options=options)
        return bytes(await found.bytes_async())
    except BaseError as error:
        return _beyond(error)


def _beyond(error: BaseError) -> bytes:
    """Return what lies beyond an object's end: nothing. Any other error rises."""
    if read_answer(error).status != 416:
        raise error
    return b""


async def _next(listing: Any) -> Any:
    return await anext(listing, None)


def _is_key(path: str) -> bool:
    try:
        check_key(path)
    except InvalidInput:
        return False
    return True
