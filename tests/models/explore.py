"""Every state that a small system can come to, breadth first: the shortest way to a broken one, or how many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Explored:
    """How many states there are, and what is wrong with the first broken one ("": none is)."""

    states: int
    problem: str

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.problem or 'no violation'}"


def explore(start: S, moves: Callable[[S], Iterable[S]], broken: Callable[[S], str]) -> Explored:
    """Visit every state once.

    Args:
        moves: what a state may become next.
        broken: what is wrong with a state, "" when nothing is.
    """
    seen = {start}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        problem = broken(state)
        if problem:
            return Explored(len(seen), problem)
        for after in moves(state):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return Explored(len(seen), "")
