"""The picture of the states in the docs is the table, not a memory of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from syncd.jobs import states
from syncd.jobs.states import State

DOCS = Path(__file__).parents[2] / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("states_page", DOCS / "states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_table_draws() -> None:
    drawn = (DOCS / "STATES.md").read_text()
    assert drawn == generator().page(), "run: PYTHONPATH=.:client python docs/states.py"


def test_every_state_is_explained_in_one_sentence() -> None:
    explained = [line.split(" ")[0] for line in (states.__doc__ or "").splitlines() if line]
    assert [word for word in explained if word in list(State)] == list(State)
