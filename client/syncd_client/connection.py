"""The blocking connection: one question, one answer, from any thread, across forks and restarts of the daemon.

Each call has a channel (one socket) to itself for as long as it lasts, so a thread that waits an hour for an upload
holds up nobody; idle channels are kept and used again, and the daemon keeps the drafts of a process that still has one
open. A channel whose call ended in the middle (Ctrl-C, an exception in a callback) is closed, which tells the daemon
to abandon the request. A forked child never touches its parent's channels.
"""

from __future__ import annotations

import os
import socket as sockets
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from syncd_client import autostart as starting
from syncd_client import errors, paths
from syncd_client._version import __version__
from syncd_client.wire import codec
from syncd_client.wire.errors import WireError
from syncd_client.wire.frames import FrameReader
from syncd_client.wire.messages import (
    EVENTS,
    PROTOCOL,
    ErrorInfo,
    Hello,
    Message,
    Request,
    Use,
    Wait,
    Welcome,
)

OnEvent = Callable[[Any], None]

ONCE_ONLY = frozenset({"cancel", "get", "remove", "restore", "add_watch", "remove_watch", "subscribe", "shutdown"})
"""Verbs that are not asked a second time when the daemon went away before it answered; all others may be repeated."""

IDLE_LIMIT = 8
HELLO_PATIENCE = 20.0
HELLO_TRIES = 3
RESTART_PATIENCE = 10.0
"""Seconds a daemon that was there a moment ago may take to come back, where it is not ours to start."""

_READ = 256 << 10


class Lost(Exception):
    """The daemon went away in the middle of a call; never seen by callers of Connection."""


class Connection:
    """The way to one daemon. Connects at the first call; starts a daemon when none answers and it may.

    Args:
        socket: path of the daemon's socket; None: paths.default_socket().
        autostart: whether a daemon may be started; None: unless $SYNCD_AUTOSTART is 0.

    Guarded by `_lock`: `_idle`, `_welcome`. May be used from several threads.
    """

    def __init__(self, socket: str | bytes | None = None, autostart: bool | None = None) -> None:
        self.socket = paths.check_socket(os.path.abspath(os.fsencode(socket))) if socket else paths.default_socket()
        self.autostart = starting.allowed() if autostart is None else autostart
        self._lock = threading.Lock()
        self._idle: list[Channel] = []
        self._welcome: Welcome | None = None
        _open.add(self)

    @property
    def welcome(self) -> Welcome:
        """What the daemon said of itself when this process last connected; connects if need be."""
        if self._welcome is None:
            self._give_back(self._take(0.0))
        assert self._welcome is not None
        return self._welcome

    @property
    def heard(self) -> Welcome | None:
        """What a daemon said of itself at the last greeting; None before the first."""
        return self._welcome

    def call(self, request: Request, on_event: OnEvent | None = None) -> Any:
        """Send a request and return its reply, a message of class `request.reply`.

        `on_event` is called, in this thread, for each event that comes before the reply.

        Raises:
            errors.Error: what the daemon answered, by its code; DaemonUnavailable when none can be reached.
        """
        asked = Asked(request)
        try:
            return self._once(asked.now(), on_event, 0.0)
        except Lost:
            if request.op in ONCE_ONLY:
                raise gone(self.socket) from None
        try:
            return self._once(asked.now(), on_event, RESTART_PATIENCE)
        except Lost:
            raise gone(self.socket) from None

    def close(self) -> None:
        """Close every idle channel. The connection may be used again; it then connects anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, request: Request, on_event: OnEvent | None, patience: float) -> Any:
        channel = self._take(patience)
        try:
            return channel.call(request, on_event)
        finally:
            self._give_back(channel)  # one whose call was abandoned is not usable, and closed there

    def _take(self, patience: float) -> Channel:
        while True:
            with self._lock:
                channel = self._idle.pop() if self._idle else None
            if channel is None:
                break
            if channel.alive():
                return channel
            channel.close()
        for _ in range(HELLO_TRIES):
            try:
                return self._greeted(patience)
            except Lost:  # it was just leaving: the next one may be there at once
                time.sleep(0.05)
        raise gone(self.socket)

    def _greeted(self, patience: float) -> Channel:
        channel = Channel(reach(self.socket, self.autostart, patience))
        welcome: Welcome | None = None
        try:
            welcome = channel.hello()
        finally:
            if welcome is None:
                channel.close()
        with self._lock:
            self._welcome = welcome
        return channel

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            if channel.usable and len(self._idle) < IDLE_LIMIT:
                self._idle.append(channel)
                return
        channel.close()

    def forget(self) -> None:
        """Let go of what a fork has copied: called in the child, where no other thread lives."""
        self._lock = threading.Lock()
        idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()  # closes the child's copy of the descriptor; the parent's conversation goes on


class Asked:
    """A request and the moment it was first asked, so that a repetition does not renew its timeout."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._since = time.monotonic()

    def now(self) -> Request:
        """Return the request as it must be sent at this moment."""
        request = self._request
        if isinstance(request, Wait | Use) and request.timeout is not None:
            return replace(request, timeout=max(0.0, request.timeout - (time.monotonic() - self._since)))
        return request


class Channel:
    """One socket that had its hello: one call at a time. After Lost or an abandoned call it is not usable."""

    def __init__(self, sock: sockets.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._last_id = 0
        self.usable = True

    def hello(self) -> Welcome:
        """Introduce this client; raises what the daemon answered, or ProtocolError when it speaks another protocol."""
        self._sock.settimeout(HELLO_PATIENCE)
        welcome = check_welcome(self.call(Hello(client=f"python/{__version__}"), None))
        self._sock.settimeout(None)
        return welcome

    def call(self, request: Request, on_event: OnEvent | None) -> Any:
        """Send one request and read until it is answered."""
        self._last_id += 1
        try:
            frame = codec.encode_request(self._last_id, request)
        except WireError as error:
            raise errors.InvalidInput(error.what) from None
        self.usable = False
        self._send(frame)
        while True:
            for payload in self._receive():
                done, message = answer(payload, self._last_id, request, on_event)
                if done:
                    self.usable = True
                    if isinstance(message, ErrorInfo):
                        raise errors.from_info(message)
                    return message

    def alive(self) -> bool:
        """Whether the daemon's end is still open and has said nothing unasked."""
        try:
            self._sock.recv(1, sockets.MSG_PEEK | sockets.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the socket."""
        self.usable = False
        self._sock.close()

    def _send(self, frame: bytes) -> None:
        try:
            self._sock.sendall(frame)
        except OSError as error:
            raise Lost from error

    def _receive(self) -> list[dict[str, Any]]:
        try:
            data = self._sock.recv(_READ)
        except TimeoutError as error:
            raise errors.DaemonUnavailable(
                f"the daemon did not answer the greeting within {HELLO_PATIENCE:.0f} s",
                hint="is it stopped or stuck? `syncd doctor` tells",
            ) from error
        except OSError as error:
            raise Lost from error
        if not data:
            raise Lost
        try:
            return self._reader.feed(data)
        except WireError as error:
            raise broken(error) from error


def answer(payload: dict[str, Any], request_id: int, request: Request, on_event: OnEvent | None) -> tuple[bool, Any]:
    """Return (whether the call is over, its reply or the ErrorInfo); events are handed on, strangers ignored."""
    try:
        answered, kind, body = codec.decode_server_frame(payload)
        if kind == codec.ERROR and answered in (0, request_id):
            return True, codec.build(ErrorInfo, body)
        if answered != request_id:
            return False, None
        if kind == codec.OK:
            return True, codec.build(request.reply, body)
        event: Message | None = codec.build(EVENTS[kind], body) if kind in EVENTS else None
    except WireError as error:
        raise broken(error) from error
    if on_event is not None and event is not None:
        on_event(event)
    return False, None


def connect(path: bytes) -> sockets.socket:
    """Return a connected socket; OSError as the kernel says it."""
    sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    deadline = time.monotonic() + HELLO_PATIENCE
    connected = False
    try:
        sock.settimeout(HELLO_PATIENCE)
        while not connected:
            try:
                sock.connect(path)
                connected = True
            except BlockingIOError:  # its backlog is full: it is there, but many come at once
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        return sock
    finally:
        if not connected:
            sock.close()


def reach(path: bytes, autostart: bool, patience: float) -> sockets.socket:
    """Return a connected socket; where nobody answers start a daemon if allowed, else try again for `patience` seconds.

    Raises DaemonUnavailable.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if not autostart and time.monotonic() >= deadline:
                raise unreachable(path, error) from error
        except OSError as error:
            raise unreachable(path, error) from error
        if autostart:
            return starting.start_and_connect(path, connect)
        time.sleep(0.05)


def check_welcome(welcome: Welcome) -> Welcome:
    """Return the welcome of a daemon that speaks this protocol, else raise ProtocolError."""
    if welcome.protocol != PROTOCOL:
        raise errors.ProtocolError(
            f"the daemon speaks protocol {welcome.protocol}, this client {PROTOCOL}",
            f"the daemon is syncd {welcome.version}, the client {__version__}",
            "install the same version of both and restart the daemon",
        )
    return welcome


def unreachable(path: bytes, error: OSError) -> errors.DaemonUnavailable:
    """Return the error for a socket at which nobody answers."""
    return errors.DaemonUnavailable(
        f"no syncd daemon answers at {os.fsdecode(path)}",
        error.strerror or str(error),
        "start one with `syncd serve`, or name its socket in SYNCD_SOCKET",
    )


def gone(path: bytes) -> errors.DaemonGone:
    """Return the error for a daemon that went away in the middle of a call."""
    return errors.DaemonGone(
        f"the daemon at {os.fsdecode(path)} went away in the middle of a request",
        "it was stopped or killed; what it had accepted goes on at its next start",
        "ask again when it is back; its log tells why it ended",
    )


def broken(error: WireError) -> errors.ProtocolError:
    """Return the error for bytes that are not the protocol."""
    return errors.ProtocolError(
        f"the daemon's answer cannot be understood: {error.what}",
        "another program, or an incompatible version, listens there",
    )


_open: weakref.WeakSet[Connection] = weakref.WeakSet()


def _forked() -> None:
    for connection in list(_open):
        connection.forget()


os.register_at_fork(after_in_child=_forked)
