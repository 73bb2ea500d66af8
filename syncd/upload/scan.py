"""First stage: the draft's entries in order of their names, in groups that one call of the reading lane can take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from syncd.journal.pins import FileRow

_PAGE = 2000
_FILES_A_GROUP = 512

EntriesAfter = Callable[[bytes, int], Awaitable[list[FileRow]]]


async def scan(entries: EntriesAfter, window: int) -> AsyncIterator[list[FileRow]]:
    """Yield groups of entries: one file larger than `window` alone, or neighbours of together at most `window` bytes.

    Args:
        entries: pages of a draft: (after this name, at most so many) -> rows in order.
        window: bytes.
    """
    group: list[FileRow] = []
    size = 0
    after = b""
    while rows := await entries(after, _PAGE):
        after = rows[-1].name
        for row in rows:
            own = row.size if row.type == "file" else 0
            if group and (size + own > window or len(group) >= _FILES_A_GROUP):
                yield group
                group, size = [], 0
            group.append(row)
            size += own
    if group:
        yield group
