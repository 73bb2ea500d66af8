"""What a verb knows of the world: two streams to print on and a daemon to ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import TextIOWrapper
from typing import Any, TypeVar

from syncd_client import errors
from syncd_client.cli import render
from syncd_client.connection import Connection, OnEvent
from syncd_client.progress import Progress
from syncd_client.wire.messages import ListArtifacts, ListFiles, ListJobs, ListVersions, Message, Request

Listing = TypeVar("Listing", ListArtifacts, ListFiles, ListJobs, ListVersions)

_NAMED = 3
"""How many of the jobs that go on are named to somebody who leaves."""


class Console:
    """One run of `syncctl`.

    Args:
        json: answers are JSON on stdout and nothing else is; errors are there too.
        quiet: only the answer, no progress and no remarks.
        socket: path of the daemon's socket; None: the usual one.
    """

    def __init__(self, *, json: bool, quiet: bool, socket: str | None) -> None:
        self.json = json
        self.quiet = quiet
        self._socket = socket
        self._connection: Connection | None = None
        self._going_on: dict[str, None] = {}
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    # --- asking -------------------------------------------------------------------------------------------

    def call(self, request: Request, on_event: OnEvent | None = None, *, autostart: bool | None = None) -> Any:
        """Ask the daemon and return its reply; raises errors.Error. `autostart` False never starts one."""
        if self._connection is None:
            self._connection = Connection(self._socket, autostart)
        return self._connection.call(request, on_event)

    def daemon_pid(self) -> int | None:
        """Return the process id of the daemon that was spoken to, None where none has answered."""
        heard = self._connection.heard if self._connection else None
        return heard.pid if heard else None

    def pages(self, request: Listing) -> Iterator[Any]:
        """Yield the replies to a listing, page by page."""
        while True:
            page = self.call(request)
            yield page
            if not page.next:
                return
            request = replace(request, after=page.next)

    def progress(self) -> Progress:
        """Return the bar for a wait, which draws only where a person looks."""
        bar = Progress()
        bar.shown = bar.shown and not (self.quiet or self.json)
        return bar

    def goes_on(self, *jobs: str) -> None:
        """Remember what the daemon goes on with when we are interrupted."""
        self._going_on.update(dict.fromkeys(jobs))

    def is_over(self, job: str) -> None:
        """Forget a job that has ended."""
        self._going_on.pop(job, None)

    # --- printing -----------------------------------------------------------------------------------------

    def answer(self, text: str) -> None:
        """Print what was asked for, for people."""
        if not self.json and text:
            print(text)

    def say(self, text: str) -> None:
        """Print what is good to know beside the answer."""
        if not self.quiet:
            self.answer(text)

    def warn(self, text: str) -> None:
        """Print a remark on stderr; in JSON it is a field of the answer."""
        if not self.json and not self.quiet:
            self.flush()
            print(text, file=sys.stderr)

    def give(self, answer: Message | dict[str, Any]) -> None:
        """Print one JSON object, when JSON was asked for."""
        if self.json:
            print(json.dumps(render.jsonable(answer), allow_nan=False))

    def flush(self) -> None:
        """Let out what was printed: a log that takes both streams has them in order."""
        sys.stdout.flush()

    def complain(self, error: errors.Error) -> None:
        """Print an error on stderr: what, why, what to do."""
        self.flush()
        lines = [render.one_line(text) for text in (error.what, error.why, error.hint) if text]
        print("\n".join([f"syncctl: {lines[0] if lines else error.code}", *lines[1:]]), file=sys.stderr)

    def fail(self, error: errors.Error) -> None:
        """Print the error that the whole run ends with; as JSON on stdout too."""
        self.complain(error)
        if self.json:
            words = {"code": error.code, "what": error.what, "why": error.why, "hint": error.hint}
            print(json.dumps({"error": {**words, "retry": error.retry, "exit": error.exit_code}}))

    def interrupted(self) -> None:
        """Say that we leave, and what the daemon goes on with."""
        jobs = list(self._going_on)
        what, hint = "interrupted", ""
        if jobs:
            names = " ".join(jobs[:_NAMED]) + (" ..." if len(jobs) > _NAMED else "")
            what = f"interrupted; job {names} goes on in the daemon"
            hint = f"`syncctl wait {names}` waits for it, `syncctl cancel {jobs[0]}` stops it"
        print("\n".join(line for line in (f"\nsyncctl: {what}", hint) if line), file=sys.stderr)
        if self.json:
            body = {"code": "interrupted", "what": what, "why": "", "hint": hint, "retry": True, "exit": 130}
            print(json.dumps({"error": body, "jobs": jobs}))
