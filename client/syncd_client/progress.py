"""A bar for people who wait: how far, how fast, how much longer. Drawn on a terminal only.

The line covers all jobs it is told of; it is drawn over itself at most ten times a second and wiped at the end, so
nothing of it stays in a log.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from syncd_client.figures import duration_text, size_text
from syncd_client.wire.messages import JobInfo

REDRAW_S = 0.1
RATE_WINDOW_S = 5.0
_BAR = 24
_ENDED = ("done", "failed", "cancelled")


class Progress:
    """The line of one wait. `update` is what Connection.call takes as `on_event`.

    Args:
        stream: where to draw, stderr when None; nothing is drawn when it is no terminal.
        enabled: False draws nothing at all.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, *, enabled: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._enabled = enabled and self._stream.isatty()
        self._now = now
        self._jobs: dict[str, JobInfo] = {}
        self._drawn_at = float("-inf")
        self._drawn = False
        self._marks: list[tuple[float, int]] = []

    def update(self, job: JobInfo) -> None:
        """Take in news of a job and draw, if it is time."""
        self._jobs[job.job] = job
        if not self._enabled:
            return
        now = self._now()
        done, _ = self._bytes()
        self._marks.append((now, done))
        while now - self._marks[0][0] > RATE_WINDOW_S and len(self._marks) > 2:
            self._marks.pop(0)
        if now - self._drawn_at >= REDRAW_S:
            self._drawn_at = now
            self._draw()

    def close(self) -> None:
        """Wipe the line. May be repeated."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self, width: int) -> str:
        """Return the line for a terminal of `width` columns."""
        done, total = self._bytes()
        share = min(1.0, done / total) if total else 0.0
        filled = round(share * _BAR)
        text = f"{self._head()} [{'#' * filled}{'-' * (_BAR - filled)}] {share:4.0%}  "
        text += f"{size_text(done)} of {size_text(total)}"
        rate = self._rate()
        if rate > 0:
            text += f"  {size_text(rate)}/s"
            if done < total:
                text += f"  {duration_text((total - done) / rate)} left"
        return text[: max(0, width - 1)]

    def _bytes(self) -> tuple[int, int]:
        jobs = self._jobs.values()
        return sum(job.bytes_done for job in jobs), sum(job.bytes_total for job in jobs)

    def _head(self) -> str:
        jobs = list(self._jobs.values())
        if len(jobs) == 1:
            state = f"{jobs[0].state}, try {jobs[0].attempt + 1}" if jobs[0].attempt else jobs[0].state
            return f"{jobs[0].name} {state}"
        return f"{sum(job.state in _ENDED for job in jobs)} of {len(jobs)} jobs"

    def _rate(self) -> float:
        """Bytes a second over the last seconds; 0 when not known or when a job began anew."""
        (first, before), (last, after) = (self._marks or [(0.0, 0)])[0], (self._marks or [(0.0, 0)])[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else 0.0

    def _draw(self) -> None:
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            width = 80
        self._stream.write(f"\r{self.line(width or 80)}\x1b[K")
        self._stream.flush()
        self._drawn = True
