"""What a person can set, type or receive is in the documents, and what is in the documents exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from syncd.commands.main import syncd
from syncd.settings.shape import CLIENT_ENV, KEYS, REMOTE_ENV
from syncd_client.wire.errors import EXIT
from tests.house.settings_table import rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/OPERATIONS.md").read_text()
NOT_READ_YET = {"cache_dir"}  # the place is settled, systemd makes it; the download cache that fills it comes later
SOURCES = [path for room in ("syncd", "client/syncd_client") for path in (ROOT / room).rglob("*.py")]


def verbs(group: click.Group, prefix: str) -> list[str]:
    found = []
    for name, command in group.commands.items():
        found += verbs(command, f"{prefix} {name}") if isinstance(command, click.Group) else [f"{prefix} {name}"]
    return found


@pytest.mark.parametrize("line", rows())
def test_every_setting_stands_in_the_table_as_the_program_has_it(line: str) -> None:
    assert line in OPERATIONS.splitlines()


def test_the_table_has_no_setting_the_program_has_not() -> None:
    known = {key.name for key in KEYS.values()}
    listed = re.findall(r"^\| `([a-z_.]+)` \| `SYNCD_", OPERATIONS, re.MULTILINE)
    assert sorted(listed) == sorted(known)


def test_every_setting_is_read_by_somebody() -> None:
    """A key that changes nothing is a promise nobody keeps. Only the daemon and the commands may read settings."""
    readers = [path.read_text() for room in ("daemon", "commands") for path in (ROOT / "syncd" / room).rglob("*.py")]
    for key in KEYS.values():
        name = key.name.rpartition(".")[2]
        read = any(re.search(rf"\.{name}\b", text) for text in readers)
        assert read != (key.name in NOT_READ_YET), f"nobody reads {key.name}, or somebody does now"


def test_every_name_the_program_reads_from_the_environment_is_documented() -> None:
    known = {key.env for key in KEYS.values()} | {REMOTE_ENV} | set(CLIENT_ENV)
    for path in SOURCES:
        for name in re.findall(r"\bSYNCD_[A-Z_]+[A-Z]\b", path.read_text()):
            assert name in known, f"{path.name} names {name}"
            assert f"`{name}`" in OPERATIONS


def test_every_name_the_documents_use_exists() -> None:
    known = {key.env for key in KEYS.values()} | {REMOTE_ENV} | set(CLIENT_ENV)
    for lane in (ROOT / "tests/crash").glob("*.py"):  # the long lanes have knobs of their own: seeds and counts
        known.update(re.findall(r'"(SYNCD_CRASH_[A-Z_]+)"', lane.read_text()))
    for file in [ROOT / "README.md", ROOT / "systemd/README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"\bSYNCD_[A-Z_]+[A-Z]\b", file.read_text()):
            assert name in known, f"{file.name} names {name}"


@pytest.mark.parametrize("verb", verbs(syncd, "syncd"))
def test_every_verb_of_the_daemon_is_in_operations(verb: str) -> None:
    assert f"| `{verb}` |" in OPERATIONS


def test_the_readmes_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^    |`)make ([a-z]+)", README, re.MULTILINE):
        assert target in targets
    for line in re.findall(r"^    (syncd .*)$", README, re.MULTILINE):
        assert shlex.split(line, comments=True)[1] in syncd.commands


def test_the_readme_names_every_room() -> None:
    for path in sorted((ROOT / "syncd").iterdir()):
        if path.name.startswith(("__", "py.typed")) or path.suffix == ".c":
            continue
        assert f"`syncd/{path.name}`" in README or f"`{path.name}`" in README, path.name


def test_links_between_documents_lead_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "systemd/README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name} -> {target}"


def test_every_exit_code_is_in_the_table() -> None:
    for code in {0, 3, 130, *EXIT.values()}:
        assert re.search(rf"^\| {code} \| \S", OPERATIONS, re.MULTILINE), code
