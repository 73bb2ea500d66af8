"""The table of a job's moves, and `step`, which reads it.

An event that the table does not have for a state is illegal: `step` raises and, being pure, has changed nothing.
Four rules are built into the rows:

* Cancelling ends where the commit begins: from `committing` on the version may already be in the log, so the answer
  is no, and a person removes the version instead.
* A version that is in the log is never called failed: in `committed` every fault is tried again, whatever it was.
* A fault in `committing` is for good only when the log has been read and the entry is not in it; a flow that cannot
  tell says that it may pass (law L4).
* An upload that failed keeps its pins and waits for a person, who may let it go. A download that failed holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from syncd.errors import Conflict
from syncd.jobs.states import (
    CancelAsked,
    Commit,
    Committed,
    Discard,
    Due,
    Event,
    Faulted,
    Fetch,
    Fetched,
    Instruction,
    JobState,
    Kind,
    Release,
    Released,
    RetryLater,
    Send,
    Started,
    State,
    Stored,
)


class IllegalMove(Conflict):
    """The event cannot happen to a job in this state; nothing has changed."""


class Cue(StrEnum):
    """The column of the table: an event's type, with faults told apart by whether they may pass."""

    STARTED = "Started"
    STORED = "Stored"
    COMMITTED = "Committed"
    RELEASED = "Released"
    FETCHED = "Fetched"
    FAULT_PASSING = "Faulted, may pass"
    FAULT_LASTING = "Faulted, for good"
    CANCEL_ASKED = "CancelAsked"
    DUE = "Due"


_CUES: dict[type[Event], Cue] = {
    Started: Cue.STARTED,
    Stored: Cue.STORED,
    Committed: Cue.COMMITTED,
    Released: Cue.RELEASED,
    Fetched: Cue.FETCHED,
    CancelAsked: Cue.CANCEL_ASKED,
    Due: Cue.DUE,
}

WORK: dict[State, Instruction] = {
    State.SENDING: Send(),
    State.COMMITTING: Commit(),
    State.COMMITTED: Release(),
    State.FETCHING: Fetch(),
    State.CANCELLED: Discard(),
}
"""What is to be done in a state; entering it, from anywhere, gives the instruction."""

_FORWARD = frozenset({Cue.STARTED, Cue.STORED, Cue.COMMITTED, Cue.RELEASED, Cue.FETCHED})

_UP, _DOWN = Kind.UPLOAD, Kind.DOWNLOAD

TABLE: dict[tuple[Kind, State, Cue], State] = {
    (_UP, State.ACCEPTED, Cue.STARTED): State.SENDING,
    (_UP, State.ACCEPTED, Cue.CANCEL_ASKED): State.CANCELLED,
    (_UP, State.SENDING, Cue.STORED): State.COMMITTING,
    (_UP, State.SENDING, Cue.FAULT_PASSING): State.WAITING,
    (_UP, State.SENDING, Cue.FAULT_LASTING): State.FAILED,
    (_UP, State.SENDING, Cue.CANCEL_ASKED): State.CANCELLED,
    (_UP, State.COMMITTING, Cue.COMMITTED): State.COMMITTED,
    (_UP, State.COMMITTING, Cue.FAULT_PASSING): State.WAITING,
    (_UP, State.COMMITTING, Cue.FAULT_LASTING): State.FAILED,
    (_UP, State.COMMITTED, Cue.RELEASED): State.DONE,
    (_UP, State.COMMITTED, Cue.FAULT_PASSING): State.WAITING,
    (_UP, State.COMMITTED, Cue.FAULT_LASTING): State.WAITING,
    (_UP, State.FAILED, Cue.CANCEL_ASKED): State.CANCELLED,
    (_DOWN, State.ACCEPTED, Cue.STARTED): State.FETCHING,
    (_DOWN, State.ACCEPTED, Cue.CANCEL_ASKED): State.CANCELLED,
    (_DOWN, State.FETCHING, Cue.FETCHED): State.DONE,
    (_DOWN, State.FETCHING, Cue.FAULT_PASSING): State.WAITING,
    (_DOWN, State.FETCHING, Cue.FAULT_LASTING): State.FAILED,
    (_DOWN, State.FETCHING, Cue.CANCEL_ASKED): State.CANCELLED,
    (_DOWN, State.FAILED, Cue.CANCEL_ASKED): State.CANCELLED,
}
"""Every move but those out of `waiting`, which `RESUMED` gives: they depend on the state to go back to."""

RESUMED: dict[tuple[Kind, State], frozenset[Cue]] = {
    (_UP, State.SENDING): frozenset({Cue.DUE, Cue.CANCEL_ASKED}),
    (_UP, State.COMMITTING): frozenset({Cue.DUE}),
    (_UP, State.COMMITTED): frozenset({Cue.DUE}),
    (_DOWN, State.FETCHING): frozenset({Cue.DUE, Cue.CANCEL_ASKED}),
}
"""What may happen to a waiting job, by the state it waits to go back to: Due goes back, CancelAsked cancels."""


def step(job: JobState, event: Event) -> tuple[JobState, tuple[Instruction, ...]]:
    """Return the job's state after `event`, and what is to be done once that state is in the journal.

    Raises:
        IllegalMove: the table has no such move; for CancelAsked the message says what can be done instead.
    """
    cue = cue_of(event)
    target = _target(job, cue)
    if target is None:
        raise _illegal(job, event)
    if target is State.WAITING:
        attempt = job.attempt + 1
        return JobState(job.kind, target, job.state, attempt), (RetryLater(attempt),)
    attempt = 0 if cue in _FORWARD else job.attempt
    return JobState(job.kind, target, None, attempt), _work(target)


def pick_up(job: JobState) -> tuple[JobState, tuple[Instruction, ...]]:
    """Return where a job found in the journal at start-up goes on: its instruction again, a waiting one at once."""
    if job.state is State.ACCEPTED:
        return step(job, Started())
    if job.state is State.WAITING:
        return step(job, Due())
    return job, _work(job.state)


def moves() -> Iterator[tuple[Kind, State, State | None, Cue, State]]:
    """Yield every legal move as (kind, state, resume, cue, new state): what the picture in the docs is drawn from."""
    for (kind, state, cue), target in TABLE.items():
        yield kind, state, None, cue, target
    for (kind, resume), cues in RESUMED.items():
        for cue in sorted(cues):
            yield kind, State.WAITING, resume, cue, resume if cue is Cue.DUE else State.CANCELLED


@dataclass(frozen=True, slots=True)
class _Reason:
    why: str
    hint: str


_NO_CANCEL = {
    State.COMMITTING: _Reason("it is being committed and may already be in the log", "wait for it, then remove it"),
    State.COMMITTED: _Reason("its version is in the log", "remove the version instead"),
    State.DONE: _Reason("it has ended", "to take a version back, remove the version"),
    State.CANCELLED: _Reason("it was cancelled before", ""),
}


def cue_of(event: Event) -> Cue:
    """Return the table's column for an event."""
    if isinstance(event, Faulted):
        return Cue.FAULT_PASSING if event.retry else Cue.FAULT_LASTING
    return _CUES[type(event)]


def _target(job: JobState, cue: Cue) -> State | None:
    if job.state is not State.WAITING:
        return TABLE.get((job.kind, job.state, cue))
    if job.resume is None or cue not in RESUMED.get((job.kind, job.resume), frozenset()):
        return None
    return job.resume if cue is Cue.DUE else State.CANCELLED


def _work(state: State) -> tuple[Instruction, ...]:
    instruction = WORK.get(state)
    return () if instruction is None else (instruction,)


def _illegal(job: JobState, event: Event) -> IllegalMove:
    if isinstance(event, CancelAsked):
        reason = _NO_CANCEL.get(job.resume or job.state, _Reason("", ""))
        return IllegalMove(f"the {job.kind} cannot be cancelled", reason.why, reason.hint)
    return IllegalMove(f"{cue_of(event)} cannot happen to {job.kind} job in state {job.state}")
