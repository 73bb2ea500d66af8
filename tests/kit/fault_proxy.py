"""A network that misbehaves: an HTTP proxy of our own between a client and a real server, on real sockets.

    with fault_proxy(server.port) as proxy:
        proxy.plan = first("PUT", "/packs/", lose_reply())
        ... url(endpoint=proxy.endpoint) ...

A plan is asked for every request and names the fault, or None. Each request gets a connection of its own to the
server, closed after it; what was asked is in `proxy.seen`.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: its method, decoded path with query, headers in lower case, and its number among its method."""

    method: str
    path: str
    headers: dict[str, str]
    number: int
    size: int = 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        request_bytes: of the body that reach the server before both sides are cut off; None: all.
        forward: whether the server sees the request at all.
        reply_bytes: of the reply that reach the client before it is cut off; None: all.
        status, code: the reply that stands in for the server's own.
        piece: the reply goes in pieces of so many bytes, each with a turn of the loop between; 0: at once.
        hold: the reply waits until the proxy's `let_go`.
        hide: a 404 of the server becomes a 403, as stores answer those who may not list.
    """

    request_bytes: int | None = None
    forward: bool = True
    reply_bytes: int | None = None
    status: int = 0
    code: str = ""
    piece: int = 0
    hold: bool = False
    hide: bool = False


Plan = Callable[[Asked], Fault | None]


def lose_reply() -> Fault:
    """The server does it; the client hears a reset connection."""
    return Fault(reply_bytes=0)


def reset() -> Fault:
    """The connection breaks before the server hears anything."""
    return Fault(forward=False, reply_bytes=0)


def cut_request(size: int) -> Fault:
    """The connection breaks after so many bytes of the request's body."""
    return Fault(request_bytes=size)


def cut_reply(size: int) -> Fault:
    """The connection breaks after so many bytes of the reply, its head included."""
    return Fault(reply_bytes=size)


def answer(status: int, code: str = "", *, done: bool = False) -> Fault:
    """The client gets an error; `done`: after the server has done what was asked."""
    return Fault(forward=done, status=status, code=code)


def times(count: int, method: str, path: str, fault: Fault) -> Plan:
    """The first `count` requests of a method whose path contains `path` go wrong."""
    left = [count]

    def plan(asked: Asked) -> Fault | None:
        if asked.method != method or path not in asked.path or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan


def first(method: str, path: str, fault: Fault) -> Plan:
    """The first such request goes wrong."""
    return times(1, method, path, fault)


def without_rights(asked: Asked) -> Fault | None:
    """A plan: what credentials hear that may put and get, but neither delete nor list."""
    if asked.method == "DELETE" or "list-type=2" in asked.path:
        return answer(403, "AccessDenied")
    return Fault(hide=True) if asked.method in ("GET", "HEAD") else None


class FaultProxy:
    """The proxy; `plan` may be changed at any time."""

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self.plan: Plan = lambda asked: None
        self.seen: list[Asked] = []
        self.hurt: list[Asked] = []
        self.port = 0
        self._upstream = upstream
        self._tls = tls
        self._numbers: dict[str, int] = {}
        self._live: set[asyncio.Task[None]] = set()
        self._free: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def of(self, method: str, path: str = "") -> list[Asked]:
        """Return the requests of a method whose path contains `path`."""
        return [asked for asked in self.seen if asked.method == method and path in asked.path]

    def let_go(self) -> None:
        """Answer what is held."""
        assert self._loop is not None and self._free is not None
        self._loop.call_soon_threadsafe(self._free.set)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Run until cancelled."""
        self._loop, self._free = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._live.add(task)  # when its client leaves nobody else holds it: it would be collected while it waits
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, asyncio.LimitOverrunError):
                while await self._request(reader, writer):
                    pass
        finally:
            self._live.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection lives on."""
        head = await reader.readuntil(b"\r\n\r\n")
        asked, line, kept = self._read_head(head)
        fault = self.plan(asked) or Fault()
        if fault != Fault():
            self.hurt.append(asked)
        if asked.headers.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(asked.size)
        reply = b""
        if fault.forward:
            reply = await self._ask(line + kept + b"Connection: close\r\n\r\n", body, fault.request_bytes)
        if fault.hold:
            assert self._free is not None
            await self._free.wait()
        if fault.status or (fault.hide and reply.startswith(b"HTTP/1.1 404")):
            fault = fault if fault.status else replace(fault, status=403, code="AccessDenied")
            text = f"<?xml version='1.0'?><Error><Code>{fault.code or 'Some'}</Code></Error>".encode()
            length = 0 if asked.method == "HEAD" else len(text)
            reply = f"HTTP/1.1 {fault.status} X\r\nContent-Length: {length}\r\n\r\n".encode() + text[:length]
        if fault.request_bytes is not None:
            _break(writer)
            return False
        await _send(writer, reply if fault.reply_bytes is None else reply[: fault.reply_bytes], fault.piece)
        if fault.reply_bytes is not None:
            _break(writer)
            return False
        return bool(fault.status)  # the server's own replies say that they close

    def _read_head(self, head: bytes) -> tuple[Asked, bytes, bytes]:
        line, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        if target.startswith("http://"):  # asked as a forward proxy
            parts = urlsplit(target)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        pairs = [text.partition(":") for text in rest if text]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        number = self._numbers[method] = self._numbers.get(method, 0) + 1
        asked = Asked(method, unquote(target), headers, number, int(headers.get("content-length", "0")))
        self.seen.append(replace(asked))
        dropped = ("connection", "expect", "proxy-connection")
        kept = "".join(f"{name}:{value}\r\n" for name, _, value in pairs if name.lower() not in dropped)
        return asked, f"{method} {target} HTTP/1.1\r\n".encode("latin-1"), kept.encode("latin-1")

    async def _ask(self, head: bytes, body: bytes, limit: int | None) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(head + (body if limit is None else body[:limit]))
            await writer.drain()
            return b"" if limit is not None else await reader.read()
        finally:
            writer.close()


async def _send(writer: asyncio.StreamWriter, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece or max(1, len(data))):
        writer.write(data[start : start + (piece or len(data))])
        await writer.drain()
        await asyncio.sleep(0)


def _break(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, not with a farewell."""
    socket = writer.get_extra_info("socket")
    socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def fault_proxy(upstream: int, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """Run a proxy before a port of this machine, in a thread of its own, until the context is left."""
    proxy = FaultProxy(upstream, tls)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    task: asyncio.Task[None] | None = None

    def work() -> None:
        nonlocal task
        asyncio.set_event_loop(loop)
        task = loop.create_task(proxy.serve(ready.set))
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        while left := asyncio.all_tasks(loop):  # a connection accepted last makes one more
            for one in left:
                one.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=work, name="fault-proxy", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        assert task is not None
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
