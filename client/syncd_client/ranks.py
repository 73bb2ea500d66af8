"""Which rank of how many this process is: as the caller says, else as torchrun or Slurm say.

Read only when somebody asks for a version of several ranks: a plain log is never one by surprise.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from syncd_client import rules
from syncd_client.errors import InvalidInput
from syncd_client.wire.messages import Log


@dataclass(frozen=True, slots=True)
class Ranks:
    """One rank's place: the group's name, its number, how many there are, how many of them on this node."""

    group: str
    rank: int
    world_size: int
    local_world_size: int = 1


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The names under which one launcher tells: `job` and `attempt` make the group's name."""

    rank: str
    world: str
    local: str
    job: str
    attempt: str


_LAUNCHERS = (
    _Launcher("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    _Launcher("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"),
)


def ranks(group: str, rank: int | None, world_size: int | None, environ: Mapping[str, str] | None = None) -> Ranks:
    """Return this process's place in a group; what is None comes from the environment.

    Raises:
        InvalidInput: nobody says which rank this is or how many there are; or there is no such rank or group.
    """
    told = os.environ if environ is None else environ
    launcher = next((one for one in _LAUNCHERS if one.rank in told and one.world in told), None)
    if rank is None or world_size is None:
        if launcher is None:
            raise InvalidInput(
                "which rank is this, of how many?",
                "neither torchrun (RANK, WORLD_SIZE) nor Slurm (SLURM_PROCID, SLURM_NTASKS) says so",
                "give rank and world_size",
            )
        rank = _number(told, launcher.rank) if rank is None else rank
        world_size = _number(told, launcher.world) if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise InvalidInput(f"rank {rank} of {world_size}", "ranks count from 0 up to the number of ranks")
    local = _number(told, launcher.local) if launcher and launcher.local in told else 1
    return Ranks(rules.check_group(group), rank, world_size, max(1, min(local, world_size)))


def group_from(environ: Mapping[str, str] | None = None) -> str:
    """Return a name for what all ranks of this launch, and of no other attempt of it, make; "": no launcher."""
    told = os.environ if environ is None else environ
    for one in _LAUNCHERS:
        job = told.get(one.job, "")
        if one.rank in told and job and job != "none":  # torchrun without --rdzv-id says "none"
            return f"{job}.{told.get(one.attempt) or '0'}"
    return ""


def ranked(request: Log, place: Ranks | None) -> Log:
    """Return a request as that of one rank; as it is without a place."""
    if place is None:
        return request
    return replace(
        request,
        group=place.group,
        rank=place.rank,
        world_size=place.world_size,
        local_world_size=place.local_world_size,
    )


class Rounds:
    """Counts how often a process has contributed under one name: the n-th contribution of each rank belong together."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def next(self, artifact: str, base: str) -> str:
        """Return the group's name for the next contribution: `base`, then `base.2`, `base.3` ..."""
        self._counts[artifact, base] += 1
        count = self._counts[artifact, base]
        return base if count == 1 else f"{base}.{count}"


def _number(told: Mapping[str, str], name: str) -> int:
    value = told[name]
    if not value.isdecimal():
        raise InvalidInput(f"{name}={value[:80]!r} is not a number", "the launcher sets it", "give rank and world_size")
    return int(value)
