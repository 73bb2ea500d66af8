"""What the repository's reader wants remembered from one life of the daemon to the next; the journal offers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Memory(Protocol):
    """Entries of logs as they were read, and facts by name. Losing entries costs fetching them again."""

    async def seen(self, repo: str, log: str) -> list[bytes]:
        """Return the stored bytes of every entry of a log this node has seen, in slot order from 0."""
        ...

    async def remember(self, repo: str, log: str, first: int, bodies: Sequence[bytes]) -> None:
        """Note entries just read, in the slots from `first` on."""
        ...

    async def fact(self, name: str) -> str:
        """Return a fact, "" when it was never noted."""
        ...

    async def note_fact(self, name: str, value: str) -> str:
        """Note a fact durably unless it is there already; return what is noted now."""
        ...


def repository_at(url: str) -> str:
    """Return the name of the fact which repository (its id) this node has seen at a remote."""
    return f"repository {url}"


class Forgetful:
    """A memory of nothing: whoever reads with it sees only what the remote holds now."""

    async def seen(self, repo: str, log: str) -> list[bytes]:
        """Nothing was seen."""
        return []

    async def remember(self, repo: str, log: str, first: int, bodies: Sequence[bytes]) -> None:
        """Forget it at once."""

    async def fact(self, name: str) -> str:
        """No fact is known."""
        return ""

    async def note_fact(self, name: str, value: str) -> str:
        """Take it for granted."""
        return value
