"""Accepting connections: who may come in, and how many."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from syncd.server.replies import Replies
from syncd.server.session import READ_BYTES, Session
from syncd.service import Service
from syncd.sockets import BACKLOG
from syncd_client.wire import messages as m
from syncd_client.wire.codec import encode_error
from syncd_client.wire.errors import BUSY

_CREDENTIALS = struct.Struct("3i")


class Listener:
    """The socket's server. Peers of another uid (root aside) are told so and sent away.

    Args:
        service: what sessions speak to.
        listening: a listening unix socket.
        connections: clients served at once.
    """

    def __init__(self, service: Service, listening: socket.socket, connections: int) -> None:
        self._service = service
        self._replies = Replies(service)
        self._listening = listening
        self._connections = connections
        self._sessions: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled; then end every session."""
        server = await asyncio.start_unix_server(self._serve, sock=self._listening, backlog=BACKLOG, limit=READ_BYTES)
        try:
            async with server:
                await server.serve_forever()
        finally:
            for task in list(self._sessions):
                task.cancel()
            if self._sessions:
                await asyncio.wait(list(self._sessions))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        self._service.clients += 1
        try:
            process, uid = peer(writer.get_extra_info("socket"))
            refusal = self._refusal(uid)
            if refusal is None:
                await Session(self._replies, self._service, process, reader, writer).run()
            else:
                writer.write(encode_error(0, refusal))
                writer.close()
        except asyncio.CancelledError:
            writer.close()  # the daemon stops; the streams' own callback would log this as an error
        finally:
            self._service.clients -= 1
            self._sessions.discard(task)

    def _refusal(self, uid: int) -> m.ErrorInfo | None:
        if uid not in (os.getuid(), 0):
            what = f"this daemon serves uid {os.getuid()}, not {uid}"
            return m.ErrorInfo("refused", what, "files are read with the daemon's rights", "start one of your own")
        if len(self._sessions) > self._connections:
            return m.ErrorInfo(BUSY, f"{self._connections} clients are connected", "", "try again")
        return None


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return who is at the other end, as the kernel says: pid (0 where it cannot tell) and uid."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, uid, _ = _CREDENTIALS.unpack(raw)
    return int(process), int(uid)
