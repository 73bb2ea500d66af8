"""`syncctl wait`, and the waiting that put and get do."""

from __future__ import annotations

import time
from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import render
from syncd_client.cli.console import Console
from syncd_client.progress import Progress
from syncd_client.wire.messages import JobInfo, Wait, Waited

_ENDED = ("done", "failed", "cancelled")
_GOOD = ("done", "committed")


def wait(args: Namespace, console: Console) -> int:
    """Wait for jobs; 3 when some of several failed, else the exit code of what failed first."""
    console.goes_on(*args.jobs)
    with console.progress() as progress:
        waited: Waited = console.call(Wait(args.jobs, args.timeout), Listener(console, progress).hear)
    rows = [[job.job, job.kind, job.state, render.outcome(job)] for job in waited.jobs]
    console.answer(render.table(["JOB", "KIND", "STATE", "RESULT"], rows))
    if not waited.jobs:
        console.say("nothing to wait for")
    failures = [failure for failure in map(failure_of, waited.jobs) if failure is not None]
    console.give(waited)
    for failure in failures:
        console.complain(failure)
    if not failures:
        return errors.OK
    return failures[0].exit_code if len(failures) == len(waited.jobs) else errors.PARTLY


def follow(console: Console, job: str) -> JobInfo:
    """Wait for one job, with a bar, and return it done.

    Raises:
        Error: what the job failed with; Cancelled when somebody cancelled it.
    """
    console.goes_on(job)
    with console.progress() as progress:
        waited: Waited = console.call(Wait([job]), Listener(console, progress).hear)
    ended = next((one for one in waited.jobs if one.job == job), None)
    if ended is None:
        raise errors.ProtocolError(f"the daemon did not answer for job {job}")
    failure = failure_of(ended)
    if failure is not None:
        raise failure
    return ended


class Listener:
    """Hears news of jobs: moves the bar, and says why a job must try again, each reason once."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._told: set[tuple[str, str]] = set()

    def hear(self, job: JobInfo) -> None:
        """Take in one event."""
        if job.state in _ENDED:
            self._console.is_over(job.job)
        else:
            self._console.goes_on(job.job)
        if job.state == "waiting" and job.error is not None and (job.job, job.error.what) not in self._told:
            self._told.add((job.job, job.error.what))
            self._progress.close()
            pause = max(0, round(job.next_try - time.time()))
            soon = f", next in {pause} s" if job.next_try else ""
            self._console.warn(f"note: {render.one_line(job.error.what)}; the job goes on trying{soon}")
        self._progress(job)


def failure_of(job: JobInfo) -> errors.Error | None:
    """Return why a job ended badly or waits for a person, None when it is done."""
    if job.state in _GOOD:
        return None
    if job.state == "cancelled":
        return errors.Cancelled(f"job {job.job} was cancelled")
    if job.error is None:
        return errors.Error(f"job {job.job} is {job.state}")
    if job.state in _ENDED:
        return errors.from_info(job.error)
    goes_on = f"job {job.job} goes on trying, nothing is lost"
    hint = f"{job.error.hint}; {goes_on}" if job.error.hint else goes_on
    return errors.from_code(job.error.code, job.error.what, job.error.why, hint, retry=True)
