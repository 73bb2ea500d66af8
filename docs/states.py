"""Draw docs/STATES.md from the state table: `python docs/states.py` writes it, a test holds both together."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

from syncd.jobs import states
from syncd.jobs.machine import WORK, moves
from syncd.jobs.states import ENDED, Kind, State

TARGET = "docs/STATES.md"

OPENING = """# The life of a job

Drawn from the table in `syncd/jobs/machine.py` by `python docs/states.py`; edit the table, not this page.
An arrow is an event, a name in brackets after a state is what the daemon does in it. Events that are not drawn are
refused and change nothing. A restart repeats the work of the state a job was in; every such work may be done twice.
"""


def page() -> str:
    """Return the whole page."""
    parts = [OPENING]
    for kind in Kind:
        parts += [f"## {kind.capitalize()}\n", "```mermaid", *_diagram(kind), "```\n"]
    parts += ["## The states\n", *_sentences()]
    return "\n".join(parts) + "\n"


def _diagram(kind: Kind) -> Iterator[str]:
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    seen: set[State] = set()
    waiting: dict[str, None] = {}
    for owner, state, resume, cue, target in moves():
        if owner is not kind:
            continue
        seen |= {state, target}
        source, end = _node(state, resume), _node(target, state)
        waiting.update(dict.fromkeys(node for node in (source, end) if node.startswith(State.WAITING)))
        arrows[source, end].append(cue)
    yield "stateDiagram-v2"
    for state in sorted(seen & set(WORK)):
        yield f"    {state} : {state} [{type(WORK[state]).__name__}]"
    for node in waiting:
        yield f"    {node} : {State.WAITING} [RetryLater]"
    yield f"    [*] --> {State.ACCEPTED}"
    for (source, end), cues in arrows.items():
        yield f"    {source} --> {end} : {' / '.join(cues)}"
    for state in sorted(ENDED & seen):
        yield f"    {state} --> [*]"


def _node(state: State, resume: State | None) -> str:
    return f"{state}_{resume}" if state is State.WAITING else str(state)


def _sentences() -> Iterator[str]:
    words = {str(state) for state in State}
    for line in (states.__doc__ or "").splitlines():
        word, _, sentence = line.partition(" ")
        if word in words:
            yield f"* **{word}**: {sentence.strip()}"


if __name__ == "__main__":
    with open(TARGET if len(sys.argv) < 2 else sys.argv[1], "w", encoding="utf-8") as file:
        file.write(page())
