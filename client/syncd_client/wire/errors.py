"""The words for what went wrong, on the wire and in an exit code: one table, used by the daemon and every client."""

from __future__ import annotations

PROTOCOL_ERROR = "protocol"
UNKNOWN_VERB = "unknown_verb"
INVALID = "invalid"
BUSY = "busy"
UNREACHABLE = "unreachable"

OK = 0
FAILED = 1
USAGE = 2
PARTLY = 3
NOT_FOUND = 4
NO_DAEMON = 5
CONFLICT = 6
TIMEOUT = 7
REMOTE = 8
CORRUPT = 9
INTERRUPTED = 130

EXIT: dict[str, int] = {
    "failed": FAILED,
    INVALID: USAGE,
    "not_found": NOT_FOUND,
    "conflict": CONFLICT,
    "aborted": CONFLICT,
    "timeout": TIMEOUT,
    "refused": FAILED,
    "cancelled": FAILED,
    "source_lost": FAILED,
    "local_disk": FAILED,
    "remote_refused": REMOTE,
    "remote_unavailable": REMOTE,
    "corrupt": CORRUPT,
    UNKNOWN_VERB: FAILED,
    PROTOCOL_ERROR: FAILED,
    BUSY: FAILED,
    UNREACHABLE: NO_DAEMON,
}
"""Exit code of a program that ends because of an error with that code; a code not listed here counts as `failed`.

`unreachable` never crosses the socket: it is what a client says when no daemon answers.
"""


class WireError(Exception):
    """Bytes or a message that break the protocol.

    `code` is "protocol" when the stream itself cannot be trusted any more (the connection must be closed), else
    "unknown_verb" or "invalid": the frame was sound, and the request `request` can be answered with an error.
    """

    def __init__(self, what: str, code: str = PROTOCOL_ERROR, request: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.request = request

    @property
    def fatal(self) -> bool:
        """Whether the connection must be closed."""
        return self.code == PROTOCOL_ERROR


def exit_code(code: str) -> int:
    """Return the exit code for an error code; unknown ones (a newer daemon's) count as `failed`."""
    return EXIT.get(code, FAILED)
