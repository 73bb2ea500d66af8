"""How one piece of logic serves both flavours: it yields what it asks the daemon and is sent the answer.

A procedure (say, download) is a generator of Ask; the blocking and the asyncio flavour each drive it with their own
connection, so what is asked, in which order, and what an answer means is written once.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from syncd_client import errors
from syncd_client.connection import Connection, OnEvent
from syncd_client.wire.messages import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and who is told of the events before its answer."""

    request: Request
    on_event: OnEvent | None = None


Steps = Generator[Ask, Any, T]
"""A procedure that ends with a T; errors.Error of an answer is raised inside it, at its yield."""


def drive(connection: Connection, steps: Steps[T]) -> T:
    """Run a procedure over a blocking connection."""
    try:
        ask = next(steps)
        while True:
            try:
                answer = connection.call(ask.request, ask.on_event)
            except errors.Error as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
