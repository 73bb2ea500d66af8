"""`syncctl gc`: what is garbage, why something is not, and away with it."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.progress import size
from syncd_client.wire.messages import Collect, CollectReport, CollectStep, Explain, Explanation


def gc(args: Namespace, console: Console) -> int:
    """Print the plan; then, unless only that was asked for, carry it out."""
    if args.explain:
        return _explain(args.explain, console)
    plan: CollectReport = console.call(Collect(True, args.min_age, args.grace), _Steps(console).hear)
    console.say(_plan(plan))
    if args.dry_run:
        console.give(plan)
        return errors.OK
    steps = _Steps(console)
    done: CollectReport = console.call(Collect(False, args.min_age, args.grace), steps.hear)
    parts = [f"freed {size(done.freed_bytes)}"]
    if done.later_bytes:
        parts.append(f"{size(done.later_bytes)} more when their grace is over, by the next `syncctl gc`")
    if done.rewritten_versions:
        rebased = render.counted(done.rewritten_versions, "version")
        parts.append(f"rewrote {size(done.rewritten_bytes)} for {rebased}; the next `syncctl gc` frees the old packs")
    console.say("; ".join(parts))
    console.give(done)
    return errors.OK


def _explain(text: str, console: Console) -> int:
    wanted = reference.parse(text)
    found: Explanation = console.call(Explain(wanted.name, wanted.or_latest, wanted.project))
    name = render.full_name(found.project, found.name, found.version)
    pairs = [
        (name, "kept" if found.kept else "not kept"),
        *(("because", why) for why in found.why),
        ("stored", size(found.stored_bytes) if found.stored_bytes else ""),
        ("its alone", size(found.exclusive_bytes) if found.stored_bytes else ""),
        *(("shares packs with", other) for other in found.shared_with),
        *(("condemned", what) for what in found.condemned),
    ]
    console.answer(render.facts(pairs))
    console.give(found)
    return errors.OK


class _Steps:
    """Says each step once, where a person looks on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = ""

    def hear(self, step: CollectStep) -> None:
        if step.step != self._told and not self._console.quiet:
            self._told = step.step
            of = f" ({step.total})" if step.total else ""
            self._console.warn(f"{render.one_line(step.step)}{of} ...")


def _plan(plan: CollectReport) -> str:
    versions = f"{render.counted(plan.versions, 'version')} in {render.counted(plan.artifacts, 'artifact')}"
    apart = [
        f"{size(plan.young_bytes)} too young" if plan.young_bytes else "",
        f"{size(plan.in_use_bytes)} in use by uploads" if plan.in_use_bytes else "",
    ]
    return render.facts(
        [
            ("versions", f"{versions}; {plan.deleted} deleted"),
            ("stored", f"{size(plan.bytes)} in {render.counted(plan.packs, 'pack')}"),
            ("needed", f"{size(plan.needed_bytes)} in {render.counted(plan.needed_packs, 'pack')}"),
            ("left alone", ", ".join(word for word in apart if word)),
            ("freed now", f"{size(plan.now_bytes)} in {render.counted(plan.now_packs, 'pack')}"),
            ("freed later", f"{size(plan.later_bytes)} in {render.counted(plan.later_packs, 'pack')}"),
            (
                "rewritten",
                f"{size(plan.sparse_bytes)} in {render.counted(plan.sparse_packs, 'pack')}"
                if plan.sparse_packs
                else "",
            ),
        ]
    )
