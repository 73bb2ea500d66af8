"""The composition root makes one byte budget, of the size that was set, and everybody who moves file bytes has it."""

from __future__ import annotations

from pathlib import Path

from tests.kit.crash_lives import alive
from tests.kit.dying import Fate, Record


async def test_uploads_downloads_and_verifications_share_one_budget(tmp_path: Path) -> None:
    settings = {"SYNCD_MEMORY_BUDGET": "3MiB", "SYNCD_PIN_RESERVE": "0"}
    async with alive(tmp_path / "one", tmp_path / "one/state/remote", settings, Fate(Record(tmp_path / "r"))) as rooms:
        flows = await rooms.engine._flows()
        budget = rooms.service.history._budget
        assert flows.uploads._budget is budget
        assert flows.downloads._budget is budget
        assert budget.limit == 3 << 20
