"""One connection: hello first, then requests side by side, replies in the order they are ready."""

from __future__ import annotations

import asyncio
import logging

from syncd.errors import Cancelled, Refused, SyncdError
from syncd.server.replies import Replies, error_info
from syncd.service import Service
from syncd_client.wire import messages as m
from syncd_client.wire.codec import decode_client_frame, encode_error, encode_event, encode_reply
from syncd_client.wire.errors import BUSY, PROTOCOL_ERROR, WireError
from syncd_client.wire.frames import FrameReader
from syncd_client.wire.limits import FRAME_LIMIT, HELLO_LIMIT

log = logging.getLogger(__name__)

READ_BYTES = 256 << 10
REQUESTS_AT_ONCE = 32
HELLO_SECONDS = 30.0
WRITE_SECONDS = 60.0


class Session:
    """Serves one client until it goes, breaks the protocol, or stops reading.

    Args:
        replies: carries requests out.
        service: is told which drafts the client works on.
        process: the client's pid.
    """

    def __init__(
        self, replies: Replies, service: Service, process: int, reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self._replies = replies
        self._drafts = service.drafts
        self._process = process
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(HELLO_LIMIT)
        self._running: dict[int, asyncio.Task[bytes]] = {}
        self._leaving = False
        self._turn = asyncio.Lock()
        self._greeted = False

    async def run(self) -> None:
        """Serve until the end of the connection; raises nothing but CancelledError."""
        self._drafts.arrived(self._process)
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._read(tasks)
                finally:
                    self._leaving = True
                    for work in self._running.values():
                        work.cancel()  # nobody is there to hear the answer; jobs go on without it
        except* (ConnectionError, TimeoutError):
            pass  # the client went, or never read: its own affair
        finally:
            self._writer.close()
            stopping = (task := asyncio.current_task()) is not None and task.cancelling() > 0
            await self._drafts.left(self._process, by_itself=not stopping)

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        async with asyncio.timeout(HELLO_SECONDS) as patience:
            while data := await self._reader.read(READ_BYTES):
                try:
                    payloads = self._frames.feed(data)
                except WireError as error:
                    await self._send(encode_error(0, m.ErrorInfo(PROTOCOL_ERROR, error.what)))
                    return
                for payload in payloads:
                    if not await self._take(payload, tasks):
                        return
                if self._greeted:
                    patience.reschedule(None)

    async def _take(self, payload: dict[str, object], tasks: asyncio.TaskGroup) -> bool:
        """Start one request; False when the connection must end."""
        try:
            number, request = decode_client_frame(payload)
        except WireError as error:
            await self._send(encode_error(error.request or 0, m.ErrorInfo(error.code, error.what)))
            return not error.fatal
        if not self._greeted and not isinstance(request, m.Hello):
            await self._send(encode_error(number, m.ErrorInfo(PROTOCOL_ERROR, "hello must come first")))
            return False
        if isinstance(request, m.Hello):
            if request.protocol != m.PROTOCOL:
                what = f"this daemon speaks protocol {m.PROTOCOL}, not {request.protocol}"
                await self._send(encode_error(number, m.ErrorInfo(PROTOCOL_ERROR, what, "", "upgrade the older side")))
                return False
            self._greeted = True
            self._frames.limit = FRAME_LIMIT
        if isinstance(request, m.CancelRequest):
            return await self._cancel(number, request)
        if number in self._running or len(self._running) >= REQUESTS_AT_ONCE:
            why = "its number is in use" if number in self._running else f"{REQUESTS_AT_ONCE} requests are running"
            await self._send(encode_error(number, m.ErrorInfo(BUSY, "the request was not begun", why, "wait for one")))
            return True
        if isinstance(request, m.AddFile | m.AddDir):
            self._drafts.hold(request.draft, self._process)
        work = self._running[number] = tasks.create_task(self._perform(number, request))
        tasks.create_task(self._answer(number, work))
        return True

    async def _cancel(self, number: int, request: m.CancelRequest) -> bool:
        work = self._running.get(request.request)
        if work is not None:
            work.cancel()
        await self._send(encode_reply(number, m.Done()))
        return True

    async def _answer(self, number: int, work: asyncio.Task[bytes]) -> None:
        """Send what the work on a request gives; a task of its own, for the work may be cancelled before it begins."""
        try:
            frame = await work
        except asyncio.CancelledError:
            if self._leaving or not work.cancelled():
                raise
            frame = encode_error(number, error_info(Cancelled("the request was cancelled", "the client asked for it")))
        del self._running[number]
        await self._send(frame)

    async def _perform(self, number: int, request: m.Request) -> bytes:
        async def tell(kind: str, message: m.Message) -> None:
            await self._send(encode_event(number, kind, message))

        try:
            return encode_reply(number, await self._replies.answer(request, tell))
        except SyncdError as error:
            return encode_error(number, error_info(error))
        except WireError as error:
            too_large = Refused("the answer does not fit into a frame", error.what, "ask for a smaller page")
            return encode_error(number, error_info(too_large))
        except (ConnectionError, TimeoutError):
            raise  # an event could not be sent: the client went, or does not read
        except Exception as error:
            log.exception("unexpected error in %s", request.op)
            return encode_error(number, m.ErrorInfo("failed", "unexpected error in the daemon", repr(error)))

    async def _send(self, frame: bytes) -> None:
        """Write one frame; a peer that does not read for a minute loses its connection, and nobody waits for it."""
        async with self._turn:
            self._writer.write(frame)
            async with asyncio.timeout(WRITE_SECONDS):
                await self._writer.drain()
