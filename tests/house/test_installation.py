"""Both distributions build from a fresh clone, with and without a compiler, and carry everything they need."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APT = "apt-get install gcc python3-dev"

MUST_CARRY = {
    "syncd": ["syncd/py.typed", "syncd/journal/schema/001.sql", "syncd/__main__.py", "syncd/web/static/"],
    "syncd_client": ["syncd_client/py.typed", "syncd_client/wire/messages.py"],
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if int(metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than 77: pip install -e '.[dev]'")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=30)
    if listed.returncode:
        pytest.skip("not a git checkout: apt-get install git, then clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.startswith(("syncd/", "client/")) or "/" not in name:
            target = tmp_path / "clone" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, target)
    return tmp_path / "clone"


def build(clone: Path, **environ: str) -> dict[str, Path]:
    """Build both wheels and return them unpacked, by name."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "out",
    ]
    ended = subprocess.run(
        [*command, "./client", "."],
        cwd=clone,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    unpacked = {}
    for wheel in (clone / "out").glob("*.whl"):
        place = clone / "unpacked" / wheel.name.partition("-")[0]
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        unpacked[place.name] = place
    return unpacked


def chunker_of(wheels: dict[str, Path]) -> str:
    """Return which chunker the unpacked wheels load, each away from the checkout."""
    script = "from syncd.format.chunker import load; print(load().name)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(place) for place in wheels.values())}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd="/", env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_without_a_compiler_both_install_and_the_python_chunker_serves(clone: Path) -> None:
    wheels = build(clone, CC="/bin/false")
    assert set(wheels) == set(MUST_CARRY)
    for name, parts in MUST_CARRY.items():
        files = [str(path.relative_to(wheels[name])) for path in wheels[name].rglob("*") if path.is_file()]
        for part in parts:
            assert any(file.startswith(part) for file in files), f"{name} has no {part}"
    assert not list(wheels["syncd"].rglob("*.so"))
    assert not list(wheels["syncd"].rglob("tests"))
    assert chunker_of(wheels) == "python"


def test_with_a_compiler_the_c_chunker_is_carried_for_every_python_from_3_11(clone: Path) -> None:
    if not shutil.which(os.environ.get("CC", "gcc")):
        pytest.skip(f"no compiler: {APT}")
    wheels = build(clone)
    assert [path.name for path in wheels["syncd"].rglob("*.so")] == ["_cut.abi3.so"]
    assert "cp311-abi3" in next((clone / "out").glob("syncd-*.whl")).name
    assert chunker_of(wheels).startswith("native")
