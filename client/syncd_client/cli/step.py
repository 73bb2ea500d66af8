"""How far a long request is, in one line where a person looks."""

from __future__ import annotations

import sys
from types import TracebackType

from syncd_client.cli.console import Console
from syncd_client.wire.messages import Message, StepInfo


class Steps:
    """Draws the newest step over the one before; nothing where nobody looks."""

    def __init__(self, console: Console) -> None:
        self._shown = sys.stderr.isatty() and not (console.quiet or console.json)
        self._width = 0

    def hear(self, step: Message) -> None:
        """Take in one event."""
        if isinstance(step, StepInfo) and self._shown:
            count = f" {step.done}/{step.total}" if step.total else ""
            self._draw(f"{step.step}{count}")

    def _draw(self, text: str) -> None:
        print(f"\r{text.ljust(self._width)}", end="\r" if not text else "", file=sys.stderr, flush=True)
        self._width = len(text)

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            self._draw("")
