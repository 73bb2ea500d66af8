"""Turn a complete sub-directory into a job: pin, look again, log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from syncd.errors import Conflict, SyncdError
from syncd.format.digest import hash_bytes
from syncd.journal.watches import WatchRow
from syncd.model.names import printable
from syncd.model.views import ReceiptView
from syncd.watch.proof import MARKER

_DOMAIN = b"syncd watch draft 1\x00"
_DRAFT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Taking:
    """One sub-directory about to become a job.

    Attributes:
        watch: whose it is; says name, type and project.
        path: absolute path of the sub-directory, `dev` and `ino` which directory that was.
        draft: its draft id, the same after a crash for the same contents.
        proof: how sure the watcher is that it is complete: marker, leases or unproven.
        unchanged: look again: is it still what was judged complete? Asked once the pins stand.
    """

    watch: WatchRow
    path: bytes
    dev: int
    ino: int
    draft: str
    proof: str
    unchanged: Callable[[], Awaitable[bool]]

    @property
    def closed_only(self) -> bool:
        """Whether pinning must refuse files open for writing; a done marker vouches instead."""
        return self.proof != MARKER


Take = Callable[[Taking], Awaitable[str]]
"""Make it a job and return the job's id; Conflict: not complete after all, try again when it is quiet."""


class Pinning(Protocol):
    """The part of `syncd.pin.Pins` that taking needs."""

    async def add_dir(
        self,
        draft: str,
        path: bytes,
        prefix: bytes,
        *,
        dev: int,
        ino: int,
        policy: str,
        merge: bool,
        closed_only: bool = False,
    ) -> ReceiptView:
        """Pin everything below `path`; Conflict names a file that is open for writing if `closed_only`."""
        ...

    async def drop(self, draft: str) -> None:
        """Give up a draft's pins."""
        ...


class Taker:
    """The `Take` of the daemon.

    Args:
        pins: where sub-directories are pinned.
        logged: the id of the job that a draft became, None while it became none.
        log: logs a pinned taking as a new version and returns the job's id.
    """

    def __init__(
        self, pins: Pinning, logged: Callable[[str], Awaitable[str | None]], log: Callable[[Taking], Awaitable[str]]
    ) -> None:
        self._pins = pins
        self._logged = logged
        self._log = log

    async def __call__(self, taking: Taking) -> str:
        """Pin, look again, log. See the package docstring for why in this order."""
        job = await self._logged(taking.draft)
        if job is not None:
            return job  # a crash came between the job and the row that says so
        await self._pins.drop(taking.draft)  # what a crash in the middle of pinning left
        try:
            await self._pin(taking)
            return await self._log(taking)
        except SyncdError:
            if await self._logged(taking.draft) is None:
                await self._pins.drop(taking.draft)
            raise

    async def _pin(self, taking: Taking) -> None:
        await self._pins.add_dir(
            taking.draft,
            taking.path,
            b"",
            dev=taking.dev,
            ino=taking.ino,
            policy="mutable",
            merge=False,
            closed_only=taking.closed_only,
        )
        if not await taking.unchanged():
            raise Conflict(f"{printable(taking.path)} changed while it was pinned", "its writer is still at work")


def draft_id(directory: bytes, path: bytes, signature: bytes, previous_job: str) -> str:
    """Return the draft id for a sub-directory as seen: 32 hex digits.

    The job it became before is part of it: contents that return (A, then B, then A again) are a further version.
    """
    parts = (directory, path, signature, previous_job.encode())
    return hash_bytes(_DOMAIN, *(b"%d " % len(part) + part for part in parts))[:_DRAFT_BYTES].hex()
