"""Disks that are full or read-only: a typed error, an exit code, nothing lost, and it goes on when the disk does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.own_mounts import in_own_mounts


@pytest.mark.parametrize(
    ("scenario", "size"),
    [
        ("remote_read_only", "16m"),
        ("remote_full", "1m"),
        ("state_full", "8m"),
        ("state_read_only", "16m"),
        ("source_disk_full", "4m"),
    ],
)
def test_disks_that_refuse(tmp_path: Path, scenario: str, size: str) -> None:
    mounts = ("mkdir -p m", f"mount -t tmpfs -o size={size} t m")
    in_own_mounts(tmp_path, "tests.kit.bad_disks", scenario, tmp_path, mounts=mounts)
