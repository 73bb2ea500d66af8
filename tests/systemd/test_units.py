"""The unit files: systemd finds nothing wrong with them, and nearly nothing left to take away."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
APT = "apt-get install systemd"
MOST_EXPOSURE = 1.9
USER = "daemon"  # a user every machine has and that is neither root nor nobody


@pytest.fixture
def analyze(tmp_path: Path) -> "Analyze":
    if not shutil.which("systemd-analyze"):
        pytest.skip(f"systemd-analyze is missing: {APT}")
    return Analyze(tmp_path)


class Analyze:
    """Runs systemd-analyze on copies of the units, the template under an instance's name."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for file in UNITS.glob("syncd*"):
            shutil.copy(file, place)
        for kind in ("service", "socket"):
            (place / f"syncd@{USER}.{kind}").symlink_to(f"syncd@.{kind}")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environ = {**os.environ, "XDG_RUNTIME_DIR": str(self.place), "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            ["systemd-analyze", *arguments], cwd=self.place, env=environ, capture_output=True, text=True, timeout=60
        )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "verify", "--man=no", "./syncd.service", "./syncd.socket", "./syncd.slice"],
        ["verify", "--man=no", f"./syncd@{USER}.service", f"./syncd@{USER}.socket", "./syncd.slice"],
    ],
    ids=["user", "template"],
)
def test_systemd_finds_nothing_wrong(analyze: Analyze, arguments: list[str]) -> None:
    ended = analyze.run(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_check_would_see_a_mistake(analyze: Analyze) -> None:
    (analyze.place / "syncd.slice").write_text("[Slice]\nCPUWeigth=20\n")
    assert "CPUWeigth" in analyze.run("verify", "--man=no", "./syncd.slice").stderr


@pytest.mark.parametrize("unit", ["syncd.service", f"syncd@{USER}.service"])
def test_next_to_nothing_is_left_to_take_away(analyze: Analyze, unit: str) -> None:
    ended = analyze.run("security", "--offline=true", f"--threshold={int(MOST_EXPOSURE * 10)}", f"./{unit}")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", ended.stdout)
    assert found, ended.stderr
    assert float(found[1]) <= MOST_EXPOSURE
    assert ended.returncode == 0, ended.stdout


def test_both_services_are_watched_and_tell_when_they_are_ready() -> None:
    for name in ("syncd.service", "syncd@.service"):
        text = (UNITS / name).read_text()
        for line in ("Type=notify", "WatchdogSec=30", "Slice=syncd.slice", "PrivateTmp=no"):
            assert f"\n{line}\n" in text
        assert "\nRemoveIPC=" not in text
    assert "\nUser=%i\n" in (UNITS / "syncd@.service").read_text()


def test_sockets_are_the_users_alone() -> None:
    for name in ("syncd.socket", "syncd@.socket"):
        assert "\nSocketMode=0600\n" in (UNITS / name).read_text()
    assert "\nSocketUser=%i\n" in (UNITS / "syncd@.socket").read_text()
