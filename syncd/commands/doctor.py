"""`syncd doctor`: look at everything the daemon stands on, and say for each trouble what to do next."""

from __future__ import annotations

import os
from collections import Counter

import click

from syncd.commands.finding import Finding
from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import Manner, manners
from syncd.settings import read
from syncd_client.wire.errors import FAILED, OK


@click.command(short_help="Check machine, disks, daemon and remote.")
@setting_flags
@manners
@click.pass_obj
def doctor(manner: Manner, config: str | None, assigned: tuple[str, ...]) -> int:
    """Check this machine, the disks, the daemon and the remote; exit code 1 when something will not work."""
    from syncd.commands.checks_disk import check_disk  # each brings its own rooms along: only this verb pays
    from syncd.commands.checks_node import check_node
    from syncd.commands.checks_reach import check_reach
    from syncd.commands.checks_spool import check_spools

    loaded = read(as_flags(config, assigned), os.environ)
    found: list[Finding] = []
    settings, here = loaded.settings, os.getcwdb()
    for checks in (check_node(loaded), check_disk(settings, here), check_spools(settings, here), check_reach(loaded)):
        for finding in checks:
            found.append(finding)
            if finding.verdict != "ok" or not manner.quiet:
                _show(manner, finding)
    counts = Counter(finding.verdict for finding in found)
    manner.line(f"{counts['ok']} ok, {counts['warn']} to improve, {counts['fail']} broken")
    manner.data({"ok": not counts["fail"], "checks": found})
    return FAILED if counts["fail"] else OK


def _show(manner: Manner, finding: Finding) -> None:
    if manner.json:
        return
    print(f"{finding.verdict:<5} {finding.check:<18} {finding.text}")
    if finding.hint:
        print(f"{'':<24} -> {finding.hint}")
