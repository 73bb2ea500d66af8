"""`syncctl fsck`: is everything there that was promised."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import render
from syncd_client.cli.console import Console
from syncd_client.cli.step import Steps
from syncd_client.progress import size
from syncd_client.wire.messages import CheckReport, FindingInfo, Fsck


def fsck(args: Namespace, console: Console) -> int:
    """Check the remote, and repair it if asked; 9 when something is wrong still."""
    with Steps(console) as steps:
        report: CheckReport = console.call(Fsck(args.read_data, args.seed, args.repair), steps.hear)
    for finding in report.findings:
        console.answer(_lines(finding))
    if report.found > len(report.findings):
        console.answer(f"... and {report.found - len(report.findings)} more")
    console.give(report)
    seen = f"{render.counted(report.versions, 'version')}, {render.counted(report.packs, 'pack')}"
    if report.packs_read:
        seen += f"; {render.counted(report.packs_read, 'pack')} read, {size(report.bytes_read)} (--seed {report.seed})"
    if not report.sound:
        hurt = render.counted(len(report.damaged), "version")
        console.warn(f"syncctl: the remote is damaged: {render.counted(report.found, 'finding')}, {hurt} hurt; {seen}")
        return errors.CORRUPT
    mended = "; everything found was mended" if report.found else ""
    console.say(f"the remote is sound: {seen}{mended}")
    return errors.OK


def _lines(finding: FindingInfo) -> str:
    more = f" and {finding.more} more" if finding.more else ""
    hurts = f"  hurts {', '.join(finding.hurts)}{more}" if finding.hurts else ""
    lines = [f"{finding.kind.upper()} {finding.what}", hurts, f"  {finding.outcome}", f"  {finding.todo}"]
    return "\n".join(render.one_line(line) for line in lines if line.strip())
