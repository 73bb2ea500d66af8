"""The verb fsck, and what is remembered of it: which versions were damaged when it was last run here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from syncd.check.findings import DAMAGED_TOLD, FINDINGS_TOLD, CheckParams, Finding, Report
from syncd.check.run import Ground, check
from syncd.check.walk import Told
from syncd.clock import Chance
from syncd.errors import InvalidInput, LocalDisk
from syncd.journal.memory import JournalMemory
from syncd.model.names import ArtifactKey
from syncd.model.views import CheckView, FindingView

_KEPT = 10_000


class CheckVerbs:
    """Checks the repository, one check at a time.

    Args:
        ground: makes what a check works with; raises while the remote is away.
        memory: where the outcome is kept, for `show`.
        rng: draws a seed where none is given.
    """

    def __init__(self, ground: Callable[[], Awaitable[Ground]], memory: JournalMemory, rng: Chance) -> None:
        self._ground = ground
        self._memory = memory
        self._rng = rng
        self._turn = asyncio.Lock()

    async def fsck(self, share: float, seed: int | None, repair: bool, told: Told) -> CheckView:
        """Check everything in the remote, and mend what can be mended if `repair` says so.

        Args:
            share: of the packs whose chunks are read and hashed, 0 to 1.
            seed: which ones; None: by chance.

        Raises:
            InvalidInput: a share that is none.
            RemoteUnavailable, RemoteRefused: as the remote says; nothing is known then.
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidInput(f"cannot read {share:g} of the packs", "a share is 0 to 1", "--read-data 5%")
        async with self._turn:
            ground = await self._ground()
            drawn = self._rng.getrandbits(31) if seed is None else seed
            report = await check(ground, CheckParams(share, drawn, repair), told)
            await self._remember(ground.repository.id, report, whole=share == 1.0)
        return _view(report)

    async def damage(self, repo: str, key: ArtifactKey, version: int) -> str:
        """Return what hurts a version, as the last check here found it; "" when nothing is known to."""
        return (await self._known(repo)).get(f"{key}:v{version}", "")

    async def _remember(self, repo: str, report: Report, whole: bool) -> None:
        """Note who is damaged. A check that did not read all data does not take back what one that did has found."""
        damaged = dict(report.damaged)
        mended = {owner for finding in report.findings if finding.mended for owner in finding.hurts}
        if not whole:
            before = await self._known(repo)
            damaged = {owner: words for owner, words in before.items() if owner not in mended} | damaged
        kept = dict(sorted(damaged.items())[:_KEPT])
        with suppress(LocalDisk):
            await self._memory.change_fact(_fact(repo), msgspec.json.encode(kept).decode() if kept else "")

    async def _known(self, repo: str) -> dict[str, str]:
        text = await self._memory.fact(_fact(repo))
        try:
            return msgspec.json.decode(text, type=dict[str, str]) if text else {}
        except msgspec.MsgspecError:
            return {}


def _fact(repo: str) -> str:
    return f"damaged in {repo}"


def _view(report: Report) -> CheckView:
    return CheckView(
        sound=report.sound,
        seed=report.seed,
        artifacts=report.artifacts,
        versions=report.versions,
        logs=report.logs,
        packs=report.packs,
        packs_read=report.packs_read,
        bytes_read=report.bytes_read,
        found=len(report.findings),
        findings=[_finding(finding) for finding in report.findings[:FINDINGS_TOLD]],
        damaged=sorted(report.damaged)[:DAMAGED_TOLD],
    )


def _finding(finding: Finding) -> FindingView:
    return FindingView(
        kind=finding.kind.value, key=finding.key, what=finding.what[:1000], hurts=list(finding.hurts),
        more=finding.more, todo=finding.todo, outcome=finding.outcome[:1000], mended=finding.mended,
    )  # fmt: skip
