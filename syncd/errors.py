"""What can go wrong, by what the caller may do about it.

One class a remedy, not one a cause. Every error says *what* happened and to which object, *why*, and *what to
do next*; foreign exceptions are translated once, at the edge where they arise, and chained as the cause.
`code` is the word that crosses the socket (docs/PROTOCOL.md), `retry` tells the engine whether the same
request may succeed later without anybody doing anything.
"""

from __future__ import annotations

from typing import ClassVar


class SyncdError(Exception):
    """Base of everything this program raises on purpose.

    Args:
        what: one line: what happened, to which object (a path, a key, a name).
        why: one line: the reason, where known.
        hint: one line: what the reader can do next.
    """

    code: ClassVar[str] = "failed"
    retry: ClassVar[bool] = False

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.hint) if line)


class InvalidInput(SyncdError):
    """The request itself is wrong (a bad name, a directory where a file is meant); change it."""

    code = "invalid"


class NotFound(SyncdError):
    """The thing named does not exist: artifact, version, alias, job, path or remote object."""

    code = "not_found"


class Conflict(SyncdError):
    """It exists already and differs: another type under this name, a path added twice, a second daemon."""

    code = "conflict"


class Aborted(SyncdError):
    """The group of ranks that should make the version was aborted: it never will."""

    code = "aborted"


class TimedOut(SyncdError):
    """The caller's patience ended; the work goes on in the daemon."""

    code = "timeout"


class Refused(SyncdError):
    """The daemon will not: a budget is exhausted, it is draining, the peer is not the owner."""

    code = "refused"


class Cancelled(SyncdError):
    """Somebody cancelled the job."""

    code = "cancelled"


class SourceLost(SyncdError):
    """Bytes that were pinned can no longer be vouched for; the job fails rather than send other bytes."""

    code = "source_lost"


class LocalDisk(SyncdError):
    """This node's disk refused: full, read-only, unreadable."""

    code = "local_disk"


class RemoteRefused(SyncdError):
    """The remote understood and refused: credentials, rights, a read-only mount, an unknown format."""

    code = "remote_refused"


class RemoteUnavailable(SyncdError):
    """The remote cannot be reached, is slow, or full; the same request may succeed later."""

    code = "remote_unavailable"
    retry = True


class Corrupt(SyncdError):
    """Bytes from the remote (or local state) are not what their hash, bounds or grammar promise."""

    code = "corrupt"


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return why a task group failed: the first error that is not a cancellation, for one failure cancels the rest."""
    for error in group.exceptions:
        found = root_cause(error) if isinstance(error, BaseExceptionGroup) else error
        if type(found).__name__ != "CancelledError":
            return found
    return group.exceptions[0]
