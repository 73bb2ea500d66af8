"""What a caller may catch. One class a remedy; each says what happened, why, and what to do next.

The classes people know from W&B keep their names and bases. An error that the daemon answered is one of these by its
`code`; where Python has a word for the same thing (ValueError, FileNotFoundError, TimeoutError ...) the class is that
too, so `except ValueError` around a bad name works as it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd_client.wire import errors as wire_errors

if TYPE_CHECKING:
    from syncd_client.wire.messages import ErrorInfo

EXIT = wire_errors.EXIT
OK, FAILED, USAGE, PARTLY = wire_errors.OK, wire_errors.FAILED, wire_errors.USAGE, wire_errors.PARTLY
NOT_FOUND, NO_DAEMON, CONFLICT = wire_errors.NOT_FOUND, wire_errors.NO_DAEMON, wire_errors.CONFLICT
TIMEOUT, REMOTE, CORRUPT = wire_errors.TIMEOUT, wire_errors.REMOTE, wire_errors.CORRUPT
INTERRUPTED = wire_errors.INTERRUPTED
"""Exit codes of a program that ends because of an error; EXIT has them by the error's code."""


class Error(Exception):
    """Base of everything this library raises on purpose.

    `what` happened to which object, `why`, what to do next (`hint`): one line each. `code` is the word in
    docs/PROTOCOL.md, `retry` whether the same request may succeed later, `exit_code` what a program should end with.
    """

    code = "failed"
    retry = False

    def __init__(self, what: str = "", why: str = "", hint: str = "", *, code: str = "", retry: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        if code:
            self.code = code
        if retry:
            self.retry = True

    @property
    def message(self) -> str:
        """The whole text, as W&B's errors have it."""
        return str(self)

    @property
    def exit_code(self) -> int:
        """The exit code that stands for this error."""
        return wire_errors.exit_code(self.code)

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.hint) if line)


class CommError(Error):
    """Talking to the daemon, or the daemon's talk with the remote, went wrong."""


class DaemonUnavailable(CommError, ConnectionError):
    """No daemon answers at the socket, and none could be started."""

    code = wire_errors.UNREACHABLE


class DaemonGone(DaemonUnavailable):
    """The daemon went away in the middle of a call; what it had accepted goes on at its next start."""


class ProtocolError(CommError):
    """The two sides do not understand each other: another protocol, or not a syncd daemon at all."""

    code = wire_errors.PROTOCOL_ERROR


class UnknownVerb(CommError):
    """The daemon is older than this client and does not know what was asked."""

    code = wire_errors.UNKNOWN_VERB


class Busy(CommError):
    """The daemon has no place for another connection or request; try again."""

    code = wire_errors.BUSY
    retry = True


class InvalidInput(Error, ValueError):
    """The request itself is wrong: a bad name, a missing file, a directory where a file is meant."""

    code = wire_errors.INVALID


class InvalidType(InvalidInput, TypeError):
    """A value of a type that has no place there."""


class UsageError(Error):
    """The library was called out of turn: before `init`, or after `finish`."""

    code = wire_errors.INVALID


class NotFound(CommError, FileNotFoundError):
    """The artifact, version, alias or job named does not exist."""

    code = "not_found"


class Conflict(Error, ValueError):
    """It exists already and differs: another type under this name, a path added twice."""

    code = "conflict"


class GroupAborted(Error, ValueError):
    """The group of ranks that should make the version was aborted; a new attempt needs another group name."""

    code = "aborted"


class WaitTimeoutError(Error, TimeoutError):
    """The patience given has ended; the work goes on in the daemon."""

    code = "timeout"


class Refused(CommError):
    """The daemon will not: a budget is exhausted, it is ending, or it belongs to another user."""

    code = "refused"


class Cancelled(Error):
    """Somebody cancelled the job."""

    code = "cancelled"


class JobFailed(Error, ValueError):
    """An upload or a download ended in failure; `code` says of which kind, the cause is the error of that kind."""


class SourceLost(JobFailed):
    """Bytes that were pinned could no longer be vouched for; nothing else was sent in their place."""

    code = "source_lost"


class LocalDisk(Error, OSError):
    """This node's disk refused: full, read-only, unreadable."""

    code = "local_disk"


class RemoteRefused(CommError, PermissionError):
    """The remote understood and refused: credentials, rights, an unknown format."""

    code = "remote_refused"


class RemoteUnavailable(CommError):
    """The remote cannot be reached or is full; the same request may succeed later."""

    code = "remote_unavailable"
    retry = True


class Corrupt(Error, ValueError):
    """Stored bytes are not what their hash promises."""

    code = "corrupt"


class ArtifactStatusError(AttributeError):
    """An artifact was used in a way its state does not allow."""

    def __init__(self, msg: str, name: str = "", obj: object = None) -> None:
        super().__init__(msg, name=name or None, obj=obj)


class ArtifactNotLoggedError(ArtifactStatusError):
    """Something only a logged artifact has was asked of a draft."""

    def __init__(self, fullname: str, obj: object = None) -> None:
        super().__init__(
            f"{fullname!r} used prior to logging artifact. "
            "Call Artifact.wait() before accessing logged artifact properties.",
            fullname.rpartition(".")[2],
            obj,
        )


class ArtifactFinalizedError(ArtifactStatusError):
    """A logged artifact was to be changed."""

    def __init__(self, fullname: str, obj: object = None) -> None:
        super().__init__(
            f"{fullname!r} used on logged artifact. Can't modify finalized artifact.", fullname.rpartition(".")[2], obj
        )


BY_CODE: dict[str, type[Error]] = {
    cls.code: cls
    for cls in (
        Error, ProtocolError, UnknownVerb, Busy, InvalidInput, NotFound, Conflict, GroupAborted, WaitTimeoutError,
        Refused, Cancelled, SourceLost, LocalDisk, RemoteRefused, RemoteUnavailable, Corrupt, DaemonUnavailable,
    )
}  # fmt: skip


def from_info(info: ErrorInfo) -> Error:
    """Return the error for what the daemon answered, or for what a job ended with."""
    return from_code(info.code, info.what, info.why, info.hint, retry=info.retry)


def from_code(code: str, what: str, why: str = "", hint: str = "", *, retry: bool = False) -> Error:
    """Return the error for a code that the daemon sent; a code of a newer daemon becomes a plain Error."""
    return BY_CODE.get(code, Error)(what, why, hint, code=code, retry=retry)
