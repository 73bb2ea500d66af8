"""A file that is written here and belongs to an artifact afterwards."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import IO, Any

from syncd_client.errors import InvalidInput, LocalDisk


class NewFile:
    """A temporary file beside the daemon's own, where a pin costs nothing; elsewhere when that cannot be written.

    It is removed when the block ends: by then its bytes are pinned, or nobody wants them.
    """

    def __init__(self, staging: bytes, mode: str, encoding: str | None) -> None:
        kind = mode.replace("x", "w")
        if kind.strip("wbt+") or kind.count("w") != 1:
            raise InvalidInput(f"invalid mode: {mode!r}", 'a new file is written: "x" or "w", with "b" for bytes')
        if "b" not in kind and encoding is None:
            encoding = "utf-8"
        handle, self.path = _create(staging)
        self.file: IO[Any] = os.fdopen(handle, kind, encoding=encoding)

    def finish(self) -> None:
        """Bring what was written to the disk; the file is closed afterwards."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
        except OSError as error:
            raise LocalDisk(
                f"a new file could not be written: {os.fsdecode(self.path)}", error.strerror or ""
            ) from error

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.file.close()
        finally:
            os.unlink(self.path)


def _create(staging: bytes) -> tuple[int, bytes]:
    if staging:
        try:
            return tempfile.mkstemp(prefix=b"new-", dir=staging)
        except OSError:  # another user's daemon, a full disk: the temporary directory does too, by a copy
            pass
    try:
        return tempfile.mkstemp(prefix=b"syncd-new-")
    except OSError as error:
        raise LocalDisk("no place for a new file", error.strerror or "", "make room, or set TMPDIR") from error
