"""N ranks with a little log each and a finaliser: the design that was not chosen, and why (parts in one log were).

Each rank writes its part and looks whether all others are there; who finds them all appends the commit. It is safe, but
only if a rank writes first and looks then, and it needs a sweeper: when a rank dies after the last part was written and
before the commit, nobody is left to append it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.models.explore import explore

START, LOOKING, COMMITTING, DONE = "start", "looking", "committing", "done"
LOOKED_FIRST = "looked first"


class State(NamedTuple):
    """Parts written, the common log, each rank as (phase, a number), ranks that died."""

    parts: frozenset[int]
    log: tuple[str, ...]
    ranks: tuple[tuple[str, int], ...]
    dead: frozenset[int]


def moved(state: State, rank: int, phase: str, number: int = 0, **more: object) -> State:
    ranks = (*state.ranks[:rank], (phase, number), *state.ranks[rank + 1 :])
    return state._replace(ranks=ranks, **more)  # type: ignore[arg-type]


def steps(state: State, rank: int, looks_first: bool) -> Iterator[State]:
    """What one living rank may do next."""
    phase, number = state.ranks[rank]
    size = len(state.ranks)
    if phase == START and not looks_first:
        yield moved(state, rank, LOOKING, parts=state.parts | {rank})
    elif phase == START:
        complete = state.parts | {rank} == frozenset(range(size))
        yield moved(state, rank, LOOKED_FIRST, int(complete))
    elif phase == LOOKED_FIRST:
        after = state._replace(parts=state.parts | {rank})
        yield moved(after, rank, COMMITTING if number else DONE, len(state.log) if number else 0)
    elif phase == LOOKING and number == size:
        yield moved(state, rank, COMMITTING, len(state.log))
    elif phase == LOOKING:
        found = number in state.parts
        yield moved(state, rank, LOOKING, number + 1) if found else moved(state, rank, DONE)
    elif phase == COMMITTING and state.log[:number]:
        yield moved(state, rank, DONE)
    elif phase == COMMITTING and len(state.log) == number:
        yield moved(state, rank, DONE, log=(*state.log, "commit"))
    elif phase == COMMITTING:
        yield moved(state, rank, COMMITTING, len(state.log))


def run(ranks: int, looks_first: bool = False, abort: bool = False) -> tuple[str, int, int]:
    """Return what is broken, the states, and how many of them wait for a sweeper."""
    abandoned: set[State] = set()

    def moves(state: State) -> Iterator[State]:
        for rank in set(range(ranks)) - state.dead:
            yield from steps(state, rank, looks_first)
            if state.ranks[rank][0] != DONE and not state.dead:
                yield state._replace(dead=frozenset({rank}))
        if abort and not state.log:
            yield state._replace(log=("abort",))

    def broken(state: State) -> str:
        if state.log.count("commit") > 1:
            return "two commits"
        if "commit" in state.log and len(state.parts) < ranks:
            return "a commit of some parts"
        ended = all(state.ranks[rank][0] == DONE or rank in state.dead for rank in range(ranks))
        if ended and not state.log and not state.dead:
            return "every rank is done, nothing is committed"
        if ended and not state.log and len(state.parts) == ranks:
            abandoned.add(state)
        return ""

    found = explore(State(frozenset(), (), ((START, 0),) * ranks, frozenset()), moves, broken)
    print(f"\n{ranks} ranks, looks_first={looks_first}, abort={abort}: {found}; {len(abandoned)} wait for a sweeper")
    return found.problem, found.states, len(abandoned)


@pytest.mark.parametrize(("ranks", "abort"), [(2, False), (3, False), (4, False), (3, True)])
def test_writing_first_and_looking_then_is_safe_but_needs_a_sweeper(ranks: int, abort: bool) -> None:
    problem, _, abandoned = run(ranks, abort=abort)
    assert problem == ""
    assert abandoned > 0


def test_looking_first_loses_the_commit() -> None:
    assert run(2, looks_first=True)[0] == "every rank is done, nothing is committed"
