"""How long to wait before another try. Chance is handed in, so that a test knows the answer."""

from __future__ import annotations

FIRST_S = 0.5
CAP_S = 60.0
_DOUBLINGS = 7  # 0.5 s doubled seven times is past the cap; more would only grow a number nobody uses


def retry_delay(attempt: int, chance: float) -> float:
    """Return the seconds to wait before try number `attempt` + 1.

    Args:
        attempt: how many tries in a row have failed, from 1.
        chance: a number in [0, 1]; nodes that failed together come back apart.

    The first delay is up to half a second, each next one twice that, none over CAP_S; half of each is jitter.
    """
    ceiling = min(CAP_S, FIRST_S * 2.0 ** min(max(attempt, 1) - 1, _DOUBLINGS))
    return ceiling * (1.0 + chance) / 2.0
