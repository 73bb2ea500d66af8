"""Where the door stands: a port of this machine's loopback, a unix socket, or nowhere."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from syncd import sockets
from syncd.errors import Conflict, InvalidInput, LocalDisk
from syncd.sockets import Occupant

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class WebParams:
    """Where to listen: a port of 127.0.0.1 (0: any free one), or a unix socket's path; neither: the door stays shut.

    At most `connections` are open at once, each for `patience` seconds at most: more than any answer takes.
    """

    port: int | None = None
    socket: str = ""
    connections: int = 64
    patience: float = 15.0

    @classmethod
    def at(cls, place: str) -> WebParams:
        """Read a place as the settings have it: "off", "127.0.0.1:PORT" or "unix:/path".

        Raises:
            InvalidInput: it is none of these.
        """
        if place == "off":
            return cls()
        if place.startswith("unix:/"):
            return cls(socket=place.removeprefix("unix:"))
        host, _, port = place.rpartition(":")
        if host in (LOOPBACK, "localhost") and port.isascii() and port.isdigit():
            return cls(port=int(port))
        raise InvalidInput(
            f"the web door cannot listen at {place!r}",
            "it serves this machine alone",
            "say 127.0.0.1:PORT or unix:/path",
        )

    @property
    def enabled(self) -> bool:
        """Whether there is a door at all."""
        return self.port is not None or bool(self.socket)


def listen(params: WebParams) -> socket.socket:
    """Bind where the params say; whoever calls it listens.

    Raises:
        InvalidInput: both a port and a socket, a port that is none, a path that is too long.
        Conflict: the port or socket is in use.
        LocalDisk: the socket cannot be made.
    """
    if params.port is not None and params.socket:
        raise InvalidInput("the web door has both a port and a socket", "it is one door", "choose one")
    if params.port is None:
        return _listen_unix(params.socket)
    if not 0 <= params.port <= 65535:
        raise InvalidInput(f"invalid web port: {params.port}", "ports are 1 to 65535, 0 for any free one")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, params.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"web port {params.port} is in use", "another program listens there", "choose another"
            ) from error
        raise InvalidInput(f"cannot listen on web port {params.port}", str(error), "choose another port") from error
    return listener


def _listen_unix(path: str) -> socket.socket:
    raw = os.fsencode(path)
    if len(raw) > sockets.PATH_LIMIT:
        raise InvalidInput(f"the web socket's path is too long: {path}", f"at most {sockets.PATH_LIMIT} bytes")
    try:
        there = sockets.occupant(raw)
        if there is Occupant.FILE:
            raise Conflict(
                f"there is a file in the web socket's place: {path}", "it is no socket", "choose another path"
            )
        if there is Occupant.LISTENER:
            raise Conflict(f"the web socket is in use: {path}", "another program listens there", "choose another path")
        if there is Occupant.STALE:
            os.unlink(raw)
        return sockets.bind_private(raw)
    except OSError as error:
        raise LocalDisk(f"cannot make the web socket {path}", str(error), "check its directory") from error
