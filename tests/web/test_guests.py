"""Strangers at the web door: few at once, not for long, and not many words about them."""

import asyncio
import logging
from contextlib import suppress

import pytest

from syncd.web import WebDoor, WebParams
from tests.kit.pinning import until
from tests.kit.web_kit import FixedClock, MadeUpFacts, get, open_door, request

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def idle(door: WebDoor, words: bytes = b"GET / HTTP/1.1\r\nHost: x") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.address.rsplit(":", 1)[1]))
    writer.write(words)
    return reader, writer


async def test_more_connections_than_allowed_are_closed_and_room_is_made_when_one_leaves() -> None:
    async with open_door(MadeUpFacts(), WebParams(port=0, connections=3)) as door:
        inside = [await idle(door) for _ in range(3)]
        for _ in range(5):
            reader, writer = await idle(door)
            with pytest.raises(ConnectionResetError):
                assert await reader.read() == b""
                raise ConnectionResetError
            writer.close()
        for _, writer in inside:
            writer.close()
        codes: list[int] = []

        async def served() -> None:
            while not codes:
                try:
                    codes.append((await get(door, "/healthz"))[0])
                except (OSError, ValueError, IndexError):  # refused: the others are not gone yet
                    await asyncio.sleep(0)

        async with asyncio.timeout(20):
            await served()
        assert codes == [200]


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
async def test_a_connection_that_asks_nothing_is_ended(words: bytes) -> None:
    async with open_door(MadeUpFacts(), WebParams(port=0, patience=0.1)) as door:
        reader, writer = await idle(door, words)
        async with asyncio.timeout(20):
            with suppress(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_a_connection_serves_one_request() -> None:
    async with open_door(MadeUpFacts()) as door:
        port = door.address.rsplit(":", 1)[1].encode()
        reader, writer = await idle(door, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:" + port + b"\r\n\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nConnection: close\r\n" in answer
        writer.close()


async def test_bad_requests_are_one_short_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FixedClock()
    async with open_door(MadeUpFacts(), clock=clock) as door:
        bad = "GET / HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: \x1b[31m" + "x" * 2000
        for _ in range(5):
            assert (await request(door, bad))[0] == 400
        [one] = caplog.records
        assert one.exc_info is None
        assert len(one.getMessage()) < 250
        assert "\x1b" not in one.getMessage()
        clock.passed = 61.0
        await request(door, bad)
        assert len(caplog.records) == 2
        assert "5 web connections" in caplog.records[1].getMessage()


async def test_a_mistake_of_ours_is_told_whole(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MadeUpFacts):
        async def alive(self) -> bool:
            raise ZeroDivisionError("ours")

    async with open_door(Broken()) as door:
        assert (await get(door, "/healthz"))[0] == 500
        await until(lambda: any(record.exc_info for record in caplog.records))
