"""What the state table promises, for every sequence of events that can be thought of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Conflict
from syncd.jobs.backoff import CAP_S, FIRST_S, retry_delay
from syncd.jobs.machine import TABLE, IllegalMove, moves, pick_up, step
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

EVENTS: list[Event] = [
    Started(), Stored(), Committed(), Released(), Fetched(), Faulted(True), Faulted(False), CancelAsked(), Due(),
]  # fmt: skip

events = st.lists(st.sampled_from(EVENTS), max_size=40)
kinds = st.sampled_from(list(Kind))


def run(kind: Kind, happened: list[Event]) -> list[tuple[Event, JobState, tuple[Instruction, ...]]]:
    """Feed events to a new job, skipping the illegal ones; return every step taken."""
    job, trace = JobState(kind), []
    for event in happened:
        before = replace(job)
        try:
            job, instructions = step(job, event)
        except IllegalMove:
            assert job == before
            continue
        trace.append((event, job, instructions))
    return trace


def test_an_upload_goes_from_accepted_to_done() -> None:
    job = JobState(Kind.UPLOAD)
    seen = []
    for event in (Started(), Stored(), Committed(), Released()):
        job, instructions = step(job, event)
        seen.append((job.state, *instructions))
    assert seen == [
        (State.SENDING, Send()),
        (State.COMMITTING, Commit()),
        (State.COMMITTED, Release()),
        (State.DONE,),
    ]


def test_a_download_goes_from_accepted_to_done() -> None:
    job, first = step(JobState(Kind.DOWNLOAD), Started())
    job, last = step(job, Fetched())
    assert (first, last, job.state) == ((Fetch(),), (), State.DONE)


def test_a_passing_fault_waits_and_goes_back_to_where_it_was() -> None:
    job, instructions = step(JobState(Kind.UPLOAD, State.COMMITTING), Faulted(True))
    assert (job, instructions) == (JobState(Kind.UPLOAD, State.WAITING, State.COMMITTING, 1), (RetryLater(1),))
    assert step(job, Due()) == (JobState(Kind.UPLOAD, State.COMMITTING, None, 1), (Commit(),))


def test_attempts_count_up_while_failing_and_begin_anew_after_a_step_forward() -> None:
    job = JobState(Kind.UPLOAD, State.SENDING)
    for attempt in (1, 2, 3):
        job, instructions = step(job, Faulted(True))
        assert instructions == (RetryLater(attempt),)
        job, _ = step(job, Due())
    job, _ = step(job, Stored())
    assert job.attempt == 0


def test_a_lasting_fault_fails_the_job_and_drops_nothing() -> None:
    job, instructions = step(JobState(Kind.UPLOAD, State.SENDING), Faulted(False))
    assert (job.state, instructions) == (State.FAILED, ())


def test_a_committed_version_is_never_called_failed() -> None:
    job, _ = step(JobState(Kind.UPLOAD, State.COMMITTED), Faulted(False))
    assert (job.state, job.resume) == (State.WAITING, State.COMMITTED)


@pytest.mark.parametrize(
    "job",
    [
        JobState(Kind.UPLOAD, State.COMMITTING),
        JobState(Kind.UPLOAD, State.COMMITTED),
        JobState(Kind.UPLOAD, State.WAITING, State.COMMITTING, 2),
        JobState(Kind.UPLOAD, State.WAITING, State.COMMITTED, 2),
        JobState(Kind.UPLOAD, State.DONE),
    ],
)
def test_cancelling_is_refused_from_the_commit_on_and_says_why(job: JobState) -> None:
    with pytest.raises(Conflict) as refused:
        step(job, CancelAsked())
    assert refused.value.why
    assert refused.value.hint


@pytest.mark.parametrize(
    "job",
    [
        JobState(Kind.UPLOAD),
        JobState(Kind.UPLOAD, State.SENDING),
        JobState(Kind.UPLOAD, State.WAITING, State.SENDING, 1),
        JobState(Kind.UPLOAD, State.FAILED),
        JobState(Kind.DOWNLOAD, State.FETCHING),
        JobState(Kind.DOWNLOAD, State.WAITING, State.FETCHING, 1),
    ],
)
def test_cancelling_before_the_commit_discards(job: JobState) -> None:
    assert step(job, CancelAsked()) == (JobState(job.kind, State.CANCELLED, None, job.attempt), (Discard(),))


@given(kinds, events)
def test_an_ended_job_never_moves_by_itself(kind: Kind, happened: list[Event]) -> None:
    ended = None
    for event, job, _ in run(kind, happened):
        if ended is not None:
            assert (ended, event) == (State.FAILED, CancelAsked())
        ended = job.state if job.state.ended else None


@given(events)
def test_commit_is_never_asked_before_everything_is_stored(happened: list[Event]) -> None:
    stored = False
    for event, _, instructions in run(Kind.UPLOAD, happened):
        stored = stored or event == Stored()
        assert stored or Commit() not in instructions


@given(events)
def test_nothing_is_discarded_or_released_wrongly_after_the_commit_began(happened: list[Event]) -> None:
    committing = committed = False
    for event, job, instructions in run(Kind.UPLOAD, happened):
        committing = (committing or event == Stored()) and job.state not in (State.FAILED, State.CANCELLED)
        committed = committed or event == Committed()
        if Discard() in instructions:
            assert not committed
            assert not committing
        if Release() in instructions:
            assert committed
        if committed:
            assert job.state in (State.COMMITTED, State.WAITING, State.DONE)


@given(kinds, events)
def test_resume_is_known_exactly_while_waiting(kind: Kind, happened: list[Event]) -> None:
    for _, job, instructions in run(kind, happened):
        assert (job.resume is not None) == (job.state is State.WAITING)
        assert (job.attempt > 0) or job.state is not State.WAITING
        assert len(instructions) <= 1


@given(kinds, events)
def test_a_restart_anywhere_goes_on_with_the_same_work(kind: Kind, happened: list[Event]) -> None:
    for _, job, instructions in run(kind, happened):
        again, repeated = pick_up(job)
        if job.state is State.WAITING:
            assert (again.state, again.attempt) == (job.resume, job.attempt)
            assert repeated
        else:
            assert (again, repeated) == (job, instructions)


def test_a_restart_starts_accepted_jobs() -> None:
    assert pick_up(JobState(Kind.DOWNLOAD)) == (JobState(Kind.DOWNLOAD, State.FETCHING), (Fetch(),))


def test_every_state_can_be_reached_and_every_unended_one_can_be_left() -> None:
    reached = {target for *_, target in moves()}
    left = {state for _, state, *_ in moves()}
    assert reached == set(State) - {State.ACCEPTED}
    assert left >= {state for state in State if not state.ended}


def test_the_moves_drawn_are_the_moves_taken() -> None:
    assert len(list(moves())) == len(TABLE) + 6
    for kind, state, resume, cue, target in moves():
        event = next(e for e in EVENTS if cue.startswith(type(e).__name__) and cue.endswith(_ending(e)))
        assert step(JobState(kind, state, resume, 1), event)[0].state is target


def _ending(event: Event) -> str:
    return {Faulted(True): "may pass", Faulted(False): "for good"}.get(event, "")  # type: ignore[call-overload, no-any-return]


@given(st.integers(min_value=1, max_value=10**9), st.floats(min_value=0, max_value=1))
def test_delays_begin_short_grow_and_are_capped(attempt: int, chance: float) -> None:
    delay = retry_delay(attempt, chance)
    assert 0 < delay <= CAP_S
    assert delay <= retry_delay(attempt + 1, 1.0)
    assert retry_delay(1, chance) <= FIRST_S


def test_a_long_failing_job_is_tried_about_once_a_minute() -> None:
    assert retry_delay(50, 1.0) == CAP_S
    assert retry_delay(50, 0.0) == CAP_S / 2
