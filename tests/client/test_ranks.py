"""Which rank of how many: the caller's words first, then the launcher's, and only when somebody asks."""

from __future__ import annotations

from typing import Any

import pytest

from syncd_client.errors import InvalidInput
from syncd_client.ranks import Ranks, Rounds, group_from, ranks
from syncd_client.runrecord import RunRecord

TORCH = {"RANK": "3", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "r7"}
SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "6", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "99"}


@pytest.mark.parametrize(
    ("environ", "given", "found"),
    [
        (TORCH, (None, None), Ranks("g", 3, 16, 8)),
        (SLURM, (None, None), Ranks("g", 5, 6, 2)),
        (SLURM | TORCH, (None, None), Ranks("g", 3, 16, 8)),
        (TORCH, (0, None), Ranks("g", 0, 16, 8)),
        (TORCH, (0, 2), Ranks("g", 0, 2, 2)),
        ({}, (1, 2), Ranks("g", 1, 2, 1)),
    ],
)
def test_what_the_caller_does_not_say_the_launcher_does(environ: dict[str, str], given: Any, found: Ranks) -> None:
    assert ranks("g", *given, environ) == found


@pytest.mark.parametrize(
    ("environ", "given", "group"),
    [
        ({}, (None, None), "g"),
        ({}, (1, None), "g"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, (None, None), "g"),
        ({}, (2, 2), "g"),
        ({}, (-1, 2), "g"),
        ({}, (0, 2), "a\nb"),
        ({}, (0, 2), "g" * 129),
    ],
)
def test_a_rank_that_nobody_knows_or_that_cannot_be_is_refused(environ: Any, given: Any, group: str) -> None:
    with pytest.raises(InvalidInput):
        ranks(group, *given, environ)


def test_each_attempt_of_a_launch_has_a_group_of_its_own() -> None:
    assert group_from(TORCH) == "r7.0"
    assert group_from(TORCH | {"TORCHELASTIC_RESTART_COUNT": "2"}) == "r7.2"
    assert group_from(SLURM | {"SLURM_RESTART_COUNT": "1"}) == "99.1"
    assert group_from(TORCH | SLURM | {"TORCHELASTIC_RUN_ID": "none"}) == "99.0"
    assert group_from({"SLURM_JOB_ID": "99"}) == ""


def test_contributions_under_one_name_are_counted_for_each_artifact() -> None:
    rounds = Rounds()
    assert [rounds.next("a", "g"), rounds.next("a", "g"), rounds.next("b", "g"), rounds.next("a", "h")] == [
        "g", "g.2", "g", "h",
    ]  # fmt: skip


def test_a_log_that_asks_for_no_group_is_never_a_rank_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCH.items():
        monkeypatch.setenv(name, value)
    from syncd_client import Artifact

    run = RunRecord("p", "r", "", "", "a W&B group", {})
    art = Artifact("model", "model")
    assert run._ranks(art, None, None, None) is None
    with pytest.raises(InvalidInput, match="which group"):
        run._ranks(art, None, 1, None)
    assert run._ranks(art, True, None, None) == Ranks("r7.0", 3, 16, 8)
    assert run._ranks(art, True, None, None) == Ranks("r7.0.2", 3, 16, 8)
