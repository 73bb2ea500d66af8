"""Moving whole bytes between memory and descriptors, whatever the kernel takes or gives at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import NamedTuple

from syncd.model.buffer import Buffer

_IOV_MAX = 1024
_COPY_STEP = 16 << 20
_CANNOT_COPY_IN_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)


class Write(NamedTuple):
    """What goes into an existing file: these parts, one after the other, from an offset on."""

    path: bytes
    offset: int
    parts: Sequence[Buffer]


def write_all(fd: int, parts: Sequence[Buffer], offset: int | None = None) -> None:
    """Write every part, whatever the kernel takes at a time: from `offset` on, None: at the descriptor's position."""
    queue = [memoryview(part).cast("B") for part in parts if len(part)]
    while queue:
        some = queue[:_IOV_MAX]
        wrote = done = os.writev(fd, some) if offset is None else os.pwritev(fd, some, offset)
        offset = None if offset is None else offset + done
        while queue and wrote >= len(queue[0]):
            wrote -= len(queue.pop(0))
        if wrote:
            queue[0] = queue[0][wrote:]


def copy_range(source: int, target: int, size: int, start: int = 0) -> int:
    """Copy [start, size) between descriptors in the kernel where it can, else through a buffer; return bytes copied."""
    done = start
    in_kernel = True
    while done < size:
        step = min(_COPY_STEP, size - done)
        if in_kernel:
            try:
                got = os.copy_file_range(source, target, step, done, done)
            except OSError as error:
                if error.errno not in _CANNOT_COPY_IN_KERNEL:
                    raise
                in_kernel = False
                continue
        else:
            got = _copy_step(source, target, step, done)
        if got == 0:
            break
        done += got
    return done - start


def _copy_step(source: int, target: int, step: int, offset: int) -> int:
    piece = os.pread(source, step, offset)
    view = memoryview(piece)
    while view:
        view = view[os.pwrite(target, view, offset + len(piece) - len(view)) :]
    return len(piece)
