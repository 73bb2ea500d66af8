"""Reflinks on real xfs and btrfs: files in images, mounted for each test."""

from pathlib import Path

import pytest

from tests.kit.disk_images import image
from tests.pin.test_worlds import in_mounts

SCRIPT = Path(__file__).with_name("reflinks.py")


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
@pytest.mark.parametrize(
    ("scenario", "seen"),
    [
        ("guarded", "guarded"),
        ("open_for_writing", "reflink"),
        ("sparse", "reflink"),
        ("shared", "shared"),
        ("doctor", "reflink"),
    ],
)
def test_a_reflink_keeps_the_bytes(tmp_path: Path, kind: str, scenario: str, seen: str) -> None:
    assert in_mounts(scenario, tmp_path, *image(tmp_path, kind), script=SCRIPT) == [seen]


def test_an_xfs_without_reflinks_is_asked_for_a_lease(tmp_path: Path) -> None:
    mounts = image(tmp_path, "xfs", "-m", "reflink=0")
    assert in_mounts("not_shareable", tmp_path, *mounts, script=SCRIPT) == ["lease"]


def test_a_btrfs_file_that_is_written_in_place_is_asked_for_a_lease(tmp_path: Path) -> None:
    """chattr +C, as databases want it: its blocks have no checksums, and those of the spool have."""
    folder = tmp_path / "m" / "nocow"
    mounts = (*image(tmp_path, "btrfs"), f"mkdir -p {folder}", f"chattr +C {folder}")
    assert in_mounts("not_shareable", tmp_path, *mounts, script=SCRIPT) == ["lease"]


def test_a_reflink_reaches_from_one_subvolume_into_another(tmp_path: Path) -> None:
    assert in_mounts("subvolume", tmp_path, *image(tmp_path, "btrfs"), script=SCRIPT) == ["reflink"]
