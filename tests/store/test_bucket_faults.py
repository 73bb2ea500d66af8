"""What goes wrong on the wire, on real sockets: each pit of the library and the stores, and the remedy it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from syncd.clock import SystemClock
from syncd.errors import Conflict, NotFound, RemoteRefused, RemoteUnavailable
from syncd.store.bucket import BucketStore, Patience, open_bucket
from syncd.store.open import parse_remote
from tests.kit.fault_proxy import (
    Fault,
    FaultProxy,
    answer,
    cut_reply,
    cut_request,
    fault_proxy,
    first,
    lose_reply,
    reset,
    times,
)  # fmt: skip
from tests.kit.servers import BUCKET, Server
from tests.store.conformance import keys
from tests.store.conftest import fresh_prefix, opened

MIB = 1 << 20


@pytest.fixture
def proxy(moto: Server) -> Iterator[FaultProxy]:
    with fault_proxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def store(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    return opened(moto, monkeypatch, proxy.endpoint)


# A create: one request, whatever happens, and no answer that tells who won.


@pytest.mark.parametrize(
    "fault",
    [
        lose_reply(),
        answer(500, done=True),
        answer(503),
        answer(429),
        reset(),
        answer(409, "ConditionalRequestConflict"),
    ],
)
async def test_a_create_is_one_request_whatever_is_answered(store: BucketStore, proxy: FaultProxy, fault: Fault):
    proxy.plan = times(9, "PUT", "", fault)
    with pytest.raises((RemoteUnavailable, Conflict)):
        await store.create("log/0", b"mine")
    assert len(proxy.of("PUT")) == 1, "the library tried again by itself: it would report our own object as another's"


async def test_a_create_whose_reply_is_lost_is_there_and_is_no_conflict(store: BucketStore, proxy: FaultProxy):
    proxy.plan = first("PUT", "", lose_reply())
    with pytest.raises(RemoteUnavailable):
        await store.create("log/0", b"mine")
    assert await store.get("log/0") == b"mine"


async def test_a_conflict_over_nothing_leaves_nothing(store: BucketStore, proxy: FaultProxy):
    """S3 answers 409 to racing creates though neither may be stored: only reading the key tells (law L4)."""
    proxy.plan = first("PUT", "", answer(409, "ConditionalRequestConflict"))
    with pytest.raises(Conflict):
        await store.create("log/0", b"mine")
    with pytest.raises(NotFound):
        await store.get("log/0")
    await store.create("log/0", b"mine")


@pytest.mark.parametrize("fault", [answer(409, "OperationAborted"), answer(412), reset(), cut_request(1000)])
async def test_a_put_never_says_conflict(store: BucketStore, proxy: FaultProxy, fault: Fault):
    proxy.plan = first("PUT", "", fault)
    with pytest.raises((RemoteUnavailable, RemoteRefused)):
        await store.put("packs/x", [bytes(5000)])
    assert len(proxy.of("PUT")) == 1


async def test_a_pack_is_one_plain_put_however_large(store: BucketStore, proxy: FaultProxy):
    """The library's default would begin a multipart upload beyond 5 MB: parts stay behind, conditions are ignored."""
    body = [bytes([n]) * MIB for n in range(20)]
    await store.put("packs/large", body)
    await store.create("log/large", b"".join(body))
    (put, create) = proxy.seen
    assert [put.method, create.method] == ["PUT", "PUT"]
    assert (put.size, create.size) == (20 * MIB, 20 * MIB)
    assert "if-none-match" not in put.headers
    assert create.headers["if-none-match"] == "*"
    assert await store.get("packs/large", 19 * MIB, 3) == b"\x13" * 3


async def test_a_delete_is_a_delete(store: BucketStore, proxy: FaultProxy):
    """The library's default is a bulk request, which many imitations lack and which hides a refusal in a 200."""
    await store.delete("k")
    assert [asked.method for asked in proxy.seen] == ["DELETE"]


# Reading goes on where it broke.


async def test_a_broken_answer_is_gone_on_with_where_it_ended(store: BucketStore, proxy: FaultProxy):
    body = b"".join(n.to_bytes(4, "big") for n in range(MIB // 4))
    await store.put("k", [body])
    proxy.plan = times(2, "GET", "", cut_reply(200_000))
    assert await store.get("k") == body
    assert len(proxy.of("GET")) == 3
    assert proxy.seen[-1].headers["range"].startswith("bytes=")


async def test_a_slow_answer_is_waited_for(store: BucketStore, proxy: FaultProxy):
    await store.put("k", [bytes(100_000)])
    proxy.plan = first("GET", "", Fault(piece=1000))
    assert await store.get("k") == bytes(100_000)


async def test_a_listing_does_not_trust_the_order_of_the_store(gcs: Server, monkeypatch: pytest.MonkeyPatch):
    """The fake gives pages of three, each backwards: what is yielded is sorted all the same."""
    store = opened(gcs, monkeypatch)
    names = [f"l/{n:03}" for n in range(20)]
    for name in reversed(names):
        await store.put(name, [b"x"])
    assert await keys(store, "l/0") == names


async def test_no_listing_begins_in_the_middle(store: BucketStore, proxy: FaultProxy):
    """Where a list begins is ignored by some stores: it is never asked for."""
    await store.put("l/1", [b"x"])
    assert await keys(store, "l/") == ["l/1"]
    (asked,) = proxy.of("GET")
    assert "start-after" not in asked.path and "startFrom" not in asked.path


async def test_foreign_objects_below_the_prefix_are_not_ours(moto: Server, monkeypatch: pytest.MonkeyPatch):
    prefix = fresh_prefix()
    store = opened(moto, monkeypatch, prefix=prefix)
    for name in ("a b", "a/é", ".tmp/x", "fine"):
        moto.boto().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"x")
    assert await keys(store, "") == ["fine"]
    moto.boto().put_object(Bucket=BUCKET, Key=f"{prefix}/a//b", Body=b"x")
    with pytest.raises(RemoteRefused, match="not ours"):  # the library cannot carry such a name: no list is given
        await keys(store, "")


# Time: by size, ours, and a put that ends gives its buffers back.


async def test_a_put_that_gets_no_answer_ends_in_time(moto: Server, proxy: FaultProxy, store: BucketStore):
    store = open_bucket(
        parse_remote(moto.url(BUCKET, endpoint=proxy.endpoint)), SystemClock(), patience=Patience(0.1, 0)
    )
    proxy.plan = times(9, "PUT", "", Fault(hold=True))
    with pytest.raises(RemoteUnavailable, match="no answer within"):
        await store.put("k", [b"x"])
    assert len(proxy.of("PUT")) == 1


def test_a_large_object_gets_more_time():
    patience = Patience()
    assert patience.seconds(64 * MIB) >= 64 * MIB / 40_000
    assert patience.seconds(0) <= 30


def test_the_librarys_own_limits_never_end_a_long_upload(moto: Server):
    """Its default limit is 30 s for a whole request, and its read limit runs from the first byte sent."""
    store = open_bucket(parse_remote(moto.url(BUCKET)), SystemClock())
    options = store._clients.once.client_options
    assert options["timeout"] == "7days"
    assert "read_timeout" not in options
    assert store._clients.patient.client_options["read_timeout"] == "30s"


async def test_a_cancelled_put_ends_only_when_its_buffers_are_free(store: BucketStore, proxy: FaultProxy):
    """The library lets go of them later, from its own thread; used again before, other bytes could be sent."""
    proxy.plan = times(9, "PUT", "", Fault(hold=True))
    buffer = bytearray(32 * MIB)
    put = asyncio.ensure_future(store.put("k", [buffer]))
    while not proxy.seen:
        await asyncio.sleep(0.001)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    buffer.extend(b"resized")  # BufferError while anybody holds it


async def test_a_cancelled_verb_does_not_wait_for_the_store(store: BucketStore, proxy: FaultProxy):
    """A thread a request would have to be outwaited: as long as the store is silent."""
    proxy.plan = lambda asked: Fault(hold=True)
    for verb in (store.get("k"), store.create("k", b""), store.stat("k"), store.delete("k"), keys(store, "")):
        asked = len(proxy.seen)
        task = asyncio.ensure_future(verb)
        while len(proxy.seen) == asked:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)


# What is told.


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (answer(500), RemoteUnavailable, "500"),
        (answer(503, "SlowDown"), RemoteUnavailable, "503 SlowDown"),
        (answer(429), RemoteUnavailable, "429"),
        (answer(400, "RequestTimeout"), RemoteUnavailable, "RequestTimeout"),
        (answer(403, "QuotaExceeded"), RemoteUnavailable, "QuotaExceeded"),
        (answer(403, "AccessDenied"), RemoteRefused, "AccessDenied"),
        (answer(403, "RequestTimeTooSkewed"), RemoteRefused, "clock"),
        (answer(403, "ExpiredToken"), RemoteUnavailable, "expired"),
        (answer(400, "AuthorizationHeaderMalformed"), RemoteRefused, "region"),
        (answer(404, "NoSuchBucket"), RemoteRefused, "no such bucket"),
        (answer(501, "NotImplemented"), RemoteRefused, "501"),
        (answer(301, "PermanentRedirect"), RemoteRefused, "region"),
        (reset(), RemoteUnavailable, ""),
    ],
)
async def test_every_answer_becomes_one_of_our_errors(
    store: BucketStore, proxy: FaultProxy, fault: Fault, kind: type[Exception], words: str
):
    proxy.plan = lambda asked: fault
    for verb in (store.put("k", [b"x"]), store.get("k"), keys(store, "")):
        with pytest.raises(kind) as caught:
            await asyncio.wait_for(verb, 60)
        assert words in str(caught.value)
        assert caught.value.__cause__ is None, "the library's words may hold signed addresses"


async def test_a_bucket_that_is_not_there_is_not_a_missing_object(moto: Server, monkeypatch: pytest.MonkeyPatch):
    opened(moto, monkeypatch)
    store = open_bucket(parse_remote(moto.url("nobody-made-it")), SystemClock())
    for verb in (store.get("k"), store.put("k", [b""]), store.create("k", b""), keys(store, ""), store.delete("k")):
        with pytest.raises(RemoteRefused, match="no such bucket"):
            await verb
