"""The house keeps its shape: imports go downward, files stay small, and forbidden words stay out."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 400

LONGER = {"client/syncd_client/wire/messages.py": "the protocol's one list of messages; splitting it would hide it"}

NO_SUCH_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "misc", "stuff"}


def sources() -> list[Path]:
    found = [path for room in ("syncd", "client/syncd_client") for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_only_go_downward() -> None:
    script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}", "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " 0 broken" in ended.stdout


@pytest.mark.parametrize("path", [*sources(), *sorted((ROOT / "tests").rglob("*.py"))], ids=short)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LIMIT or short(path) in LONGER, f"{short(path)} has {lines} lines: look for its second subject"


def test_the_exceptions_are_still_needed() -> None:
    for name in LONGER:
        assert len((ROOT / name).read_text().splitlines()) > LIMIT


def test_nothing_is_called_after_nothing() -> None:
    for path in sources():
        assert not NO_SUCH_NAMES & {path.stem, *path.relative_to(ROOT).parts}, short(path)


def test_every_module_opens_with_what_it_is_for() -> None:
    for path in sources():
        assert ast.get_docstring(ast.parse(path.read_bytes())), short(path)


def test_nothing_is_left_undone() -> None:
    undone = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    for path in sources():
        assert not undone.search(path.read_text()), short(path)


def test_no_exception_is_swallowed_whole() -> None:
    """A handler that takes everything raises again, or logs the whole of it."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            takes_all = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            body = ast.unparse(node)
            assert not takes_all or "raise" in body or "log.exception(" in body, f"{short(path)}:{node.lineno}"


LOOSE = {
    "syncd/pin/errands.py": "pins are begun by callers who may leave; the room awaits its errands when it closes",
    "syncd/lanes.py": "what uses a lane's threads ends by itself; a cancelled caller waits for that",
}


def test_every_task_has_an_owner_and_every_thread_a_lane() -> None:
    """Lint knows asyncio.create_task; the loop's own methods, which do the same, are looked for here."""
    loose = re.compile(r"loop(?:\(\))?\.create_task|run_in_executor|async with aiofiles")
    for path in (path for path in sources() if short(path).startswith("syncd/")):
        assert not loose.search(path.read_text()) or short(path) in LOOSE, short(path)


def test_both_distributions_are_typed() -> None:
    for package in ("syncd", "client/syncd_client"):
        assert (ROOT / package / "py.typed").is_file()


def tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=30)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing tells which files are ours (apt-get install git, then clone)")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            yield path


def test_no_path_of_a_developers_machine_is_committed() -> None:
    machine = re.compile(rb"(?<![\w.])/(?:work|farm|root)/[\w.]")
    for path in tracked():
        found = machine.search(path.read_bytes())
        assert not found, f"{short(path)}: {found and found[0]!r}"


def test_versions_are_pinned_without_places() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._\-]+==[A-Za-z0-9.!+\-]+", line), line
