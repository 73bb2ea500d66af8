"""Only collection deletes in the remote, and only it and checks list: so uploads need neither right."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "syncd"
ALLOWED = {
    "repo/probe.py": {"delete", "list"},  # the keys that `syncd init` and `syncd check` race creates on
    **{f"check/{name}.py": {"list"} for name in ("logs", "objects", "repair", "sources", "walk")},  # holes, other packs
}


def calls(path):
    """The store verbs in question that a module calls on something that looks like a store."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("delete", "list"):
            owner = ast.unparse(node.func.value)
            if owner.rpartition(".")[2].lstrip("_") in ("store", "inner", "remote", "primary", "mirror"):
                yield node.func.attr


def test_only_collection_deletes_and_only_it_and_checks_list():
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not name.startswith(("store/", "collect/")):
            found |= {name: verbs} if (verbs := set(calls(path))) else {}
    assert found == ALLOWED


def test_this_test_sees_the_calls_of_collection():
    seen = {verb for path in (ROOT / "collect").glob("*.py") for verb in calls(path)}
    assert seen == {"delete", "list"}
