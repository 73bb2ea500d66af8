"""A daemon that only answers: real socket, real frames, real codec, and replies that a test wrote down."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from syncd_client.wire import codec
from syncd_client.wire.frames import FrameReader
from syncd_client.wire.messages import ErrorInfo, GroupPage, Hello, JobInfo, ListGroups, Message, Request, Welcome

Say = Callable[[JobInfo], None]
Reply = Callable[[Request, Say], Message]

WELCOME = Welcome(1, "9.9", [], 4711, "node-7", "p", "file:///remote")


class AnsweringSocket:
    """Answers each verb with what `on` set for it; keeps every request in `heard`. Use as a context.

    `waiting` is set when a verb set with `hang` has been asked; that verb is never answered.
    """

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "answering.sock")
        self.heard: list[Request] = []
        self.waiting = threading.Event()
        self._replies: dict[str, Reply] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._threads: list[threading.Thread] = []
        self._peers: list[socket.socket] = []
        self.on(Hello, WELCOME)
        self.on(ListGroups, GroupPage([]))

    def on(self, verb: type[Request], reply: Message | Reply) -> None:
        """Answer `verb` with this message (an ErrorInfo fails it), or with what the function returns."""
        self._replies[verb.op] = reply if callable(reply) else lambda request, say: reply

    def hang(self, verb: type[Request]) -> None:
        """Take `verb` and say nothing."""

        self.on(verb, lambda request, say: self.never())

    def never(self) -> Message:
        """Leave the request that is being answered without an answer."""
        self.waiting.set()
        raise _NoAnswer

    def of(self, verb: type[Request]) -> list[Request]:
        """Return the requests of one verb."""
        return [request for request in self.heard if isinstance(request, verb)]

    def __enter__(self) -> AnsweringSocket:
        self._listener.bind(self.path)
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for sock in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                self._start(lambda peer=peer: self._serve(peer))  # type: ignore[misc]

    def _serve(self, peer: socket.socket) -> None:
        reader = FrameReader()
        with contextlib.suppress(OSError):
            while data := peer.recv(1 << 16):
                for payload in reader.feed(data):
                    number, request = codec.decode_client_frame(payload)
                    self.heard.append(request)
                    with contextlib.suppress(_NoAnswer):
                        peer.sendall(self._answer(peer, number, request))

    def _answer(self, peer: socket.socket, number: int, request: Request) -> bytes:
        reply = self._replies.get(request.op)
        if reply is None:
            return codec.encode_error(number, ErrorInfo("failed", f"the test has no answer to {request.op}"))
        message = reply(request, lambda job: peer.sendall(codec.encode_event(number, "job", job)))
        encode = codec.encode_error if isinstance(message, ErrorInfo) else codec.encode_reply
        return encode(number, message)  # type: ignore[operator]


class _NoAnswer(Exception):
    pass
