"""What a check of `syncd doctor` says: a verdict, the facts, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `hint` is the next step, empty only when there is none to take."""

    check: str
    verdict: Verdict
    text: str
    hint: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, hint: str) -> Finding:
    """It works, but less well than it could."""
    return Finding(check, "warn", text, hint)


def fail(check: str, text: str, hint: str) -> Finding:
    """It will not work."""
    return Finding(check, "fail", text, hint)
