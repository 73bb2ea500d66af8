"""Who is let in at the web door, for how long, and how little is said about those who misbehave.

Anybody on this machine can connect to a loopback port, whatever their user. So a few connections only are open at once,
each serves one request, and each ends when its time is over, whatever it does: descriptors are needed elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from syncd.clock import Clock

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
_WORDS = 100  # characters of what a stranger sent that are repeated in the log


class Reception:
    """Makes the protocol of each connection: what the loop's server calls.

    Args:
        server: what answers requests.
        most: connections open at once; further ones are closed at once.
        seconds: how long one lives; longer than any answer takes.
        clock: one line a minute is logged about bad requests, one about refused connections.
    """

    def __init__(self, server: web.Server, most: int, seconds: float, clock: Clock) -> None:
        self.server = server
        self.most = most
        self.seconds = seconds
        self.inside = 0
        self.refused = Complaint("%d web connections were refused: %s", clock)
        self.bad = Complaint("%d web connections sent no proper request: %s", clock)

    def __call__(self) -> Guest:
        """Return the protocol of one connection."""
        return Guest(self)


class Complaint:
    """A line that is logged at most once in QUIET_SECONDS, with how often it was meant."""

    def __init__(self, line: str, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._count = 0
        self._said_at: float | None = None

    def make(self, what: str) -> None:
        """Count one more, and say so if that was not done lately."""
        self._count += 1
        now = self._clock.monotonic()
        if self._said_at is None or now - self._said_at >= QUIET_SECONDS:
            log.warning(self._line, self._count, what)
            self._count, self._said_at = 0, now


class Guest(web.RequestHandler):
    """One connection."""

    __slots__ = ("_end", "_reception")

    def __init__(self, reception: Reception) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(reception.server, loop=loop, access_log=None)  # type: ignore[arg-type]  # as AppRunner has it
        self._reception = reception
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or close it."""
        reception = self._reception
        connection = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if reception.inside >= reception.most:
            reception.refused.make(f"{reception.most} are open")
            connection.abort()
            return
        reception.inside += 1
        self._end = self._loop.call_later(reception.seconds, connection.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room for another."""
        if self._end is None:
            return  # it was never in
        self._end.cancel()
        self._reception.inside -= 1
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **more: Any) -> None:
        """Tell a mistake of ours whole, one of theirs in a few words and seldom."""
        error = more.get("exc_info")
        if isinstance(error, HttpProcessingError | ConnectionError):
            self._reception.bad.make(f"{type(error).__name__}: {str(error)[:_WORDS]!a}")
        else:
            super().log_exception(*args, **more)
