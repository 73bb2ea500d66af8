"""The grammar of `syncctl`, whole. `run` of a verb names the function that does it; it is imported when it is run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from syncd_client._version import __version__

ABOUT = "Log artifacts with the syncd daemon of this node, find them, get them back."

NOTES = """\
NAME is an artifact's name, [PROJECT/]NAME[:VERSION|:ALIAS] one version of it; without either, the latest.

exit codes:
  0 done   1 failed   2 wrong usage   3 partly done   4 not found   5 no daemon   6 conflict
  7 timeout (the work goes on)   8 the remote refused   9 damaged data   130 interrupted (the job goes on)

environment:
  SYNCD_SOCKET        the daemon's socket
  SYNCD_PROJECT       the project where none is named
  SYNCD_ARTIFACT_DIR  where `get` puts versions; ./artifacts if not set
  SYNCD_AUTOSTART=0   do not start a daemon when none answers
"""


MEANT = {
    "add": "put", "upload": "put", "push": "put", "log": "put", "download": "get", "pull": "get", "fetch": "get",
    "list": "ls", "info": "show", "delete": "rm", "remove": "rm", "undelete": "restore", "stop": "shutdown",
    "collect": "gc", "prune": "gc", "clean": "gc",
}  # fmt: skip
"""What other programs call our verbs: for a better answer to who types them, not to be typed."""


class UsageError(Exception):
    """The command line is wrong. `usage` is the line that shows how it is meant."""

    def __init__(self, what: str, usage: str, program: str) -> None:
        super().__init__(what)
        self.what = what
        self.usage = usage
        self.program = program


ALIAS = "a name that moves to this version, such as best; may be repeated (latest always moves)"


JOB = "a job's id, as put and jobs print it, or as many first letters as make it one job's"


class Parser(argparse.ArgumentParser):
    """argparse that raises instead of ending the process."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; an unknown verb is answered with the nearest one and all there are."""
        if wrong := re.search(r"invalid choice: '([^']*)'", message):
            verbs = [name for name, _ in verbs_of(self, deep=False)]
            meant = near(wrong[1], verbs) or MEANT.get(wrong[1], "")
            hint = f"; did you mean {meant}?" if meant in verbs else ""
            raise UsageError(f"no such verb: {wrong[1]}{hint}", f"the verbs are {', '.join(verbs)}", self.prog)
        raise UsageError(message, " ".join(self.format_usage().split()), self.prog)

    def parse_known_args(self, *args: Any, **options: Any) -> Any:
        """Refuse what is not known here and now, so that the answer names the verb and not the whole program."""
        namespace, unknown = super().parse_known_args(*args, **options)
        if unknown:
            words = [word.partition("=")[0] for word in unknown]
            meant = near(words[0], list(self._option_string_actions)) if words[0].startswith("--") else ""
            self.error(f"not understood: {' '.join(unknown)}" + (f"; did you mean {meant}?" if meant else ""))
        return namespace, unknown


def near(word: str, known: list[str]) -> str:
    """Return the known word that was probably meant, "" where none looks like it."""
    import difflib  # only who mistypes pays

    return next(iter(difflib.get_close_matches(word, known, 1, 0.6)), "")


def build() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="syncctl", description=ABOUT, epilog=NOTES, parents=[_common(defaults=True)])
    parser.add_argument("--version", action="version", version=f"syncctl {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True, parser_class=Parser)
    _transfer(verbs)
    _look(verbs)
    _check(verbs)
    _change(verbs)
    _jobs(verbs)
    _watch(verbs)
    _daemon(verbs)
    return parser


def _common(defaults: bool) -> argparse.ArgumentParser:
    """The flags of every verb. Below a verb they have no defaults, which would undo what stood before it."""
    flags = argparse.ArgumentParser(add_help=False, argument_default=None if defaults else argparse.SUPPRESS)
    group = flags.add_argument_group("everywhere")
    no: dict[str, Any] = {"default": False} if defaults else {}
    group.add_argument("--json", action="store_true", help="print one JSON object (files: one a line)", **no)
    group.add_argument("--socket", metavar="PATH", help="the daemon's socket")
    group.add_argument("-q", "--quiet", action="store_true", help="print only the answer, no progress", **no)
    return flags


def _verb(verbs: Any, name: str, run: str, about: str, more: str = "") -> Parser:
    verb: Parser = verbs.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=more, parents=[_common(defaults=False)]
    )
    verb.set_defaults(run=f"syncd_client.cli.{run}")
    return verb


def _transfer(verbs: Any) -> None:
    put = _verb(
        verbs,
        "put",
        "put:put",
        "store files and directories as a new version",
        "A file is stored under its base name, a directory as the paths below it. The files may be changed or deleted\n"
        "as soon as the receipt is printed. Content that is there already makes no new version: aliases go to the\n"
        "one that has it, which keeps its own metadata and description.",
    )
    put.add_argument("paths", nargs="+", metavar="PATH", help="a file or a directory")
    put.add_argument("--name", required=True, metavar="N", help="the artifact's name")
    put.add_argument("--type", default="dataset", metavar="T", help="its type (default: dataset)")
    put.add_argument("--project", metavar="P", help="its project (default: $SYNCD_PROJECT, else the daemon's)")
    put.add_argument("--alias", action="append", default=[], metavar="A", dest="aliases", help=ALIAS)
    put.add_argument("--tag", action="append", default=[], metavar="T", dest="tags", help="a tag; may be repeated")
    put.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="K=V",
        help="V is taken as JSON where it is JSON, else as text; may be repeated",
    )
    put.add_argument("--description", default="", metavar="D", help="a text for people")
    put.add_argument(
        "--group",
        nargs="?",
        const="",
        metavar="G",
        help="one rank's part of a version that all ranks of this group make; without G: as torchrun or Slurm name it",
    )
    put.add_argument("--rank", type=_rank, metavar="R", help="which rank (default: as torchrun or Slurm say)")
    put.add_argument("--world-size", type=_count, metavar="N", help="how many ranks (default: as for --rank)")
    put.add_argument("--no-wait", action="store_true", help="end when the job is accepted, not when it is durable")
    get = _verb(
        verbs,
        "get",
        "get:get",
        "restore a version into a directory",
        "Prints the directory. Every byte is verified; what is there already is not fetched again.",
    )
    _reference(get)
    get.add_argument(
        "--root", metavar="DIR", help="where to (default: NAME:vN below $SYNCD_ARTIFACT_DIR, else ./artifacts)"
    )


def _look(verbs: Any) -> None:
    listing = _verb(verbs, "ls", "look:ls", "list artifacts, or the versions of one")
    listing.add_argument("name", nargs="?", metavar="NAME", help="[PROJECT/]NAME for versions, PROJECT/ for artifacts")
    listing.add_argument("--deleted", action="store_true", help="show deleted versions too")
    _reference(
        _verb(
            verbs,
            "show",
            "look:show",
            "show everything about a version",
            "Of a name without version also the groups of ranks that are open, with the ranks that are missing, and\n"
            "those that were aborted, with the reason.",
        )
    )
    files = _verb(
        verbs,
        "files",
        "look:files",
        "list the files of a version",
        "With --json one object a line. A name that is not UTF-8 has its odd bytes as lone surrogates there (as\n"
        "os.fsdecode makes them), and beside it a field <name>_hex with all its bytes.",
    )
    _reference(files)
    verify = _verb(
        verbs,
        "verify",
        "look:verify",
        "check a version's bytes",
        "Without --root every byte in the remote is read and hashed. Exit code 9 when something is wrong.",
    )
    _reference(verify)
    verify.add_argument("--root", metavar="DIR", help="check this directory against the version instead")


def _check(verbs: Any) -> None:
    fsck = _verb(
        verbs,
        "fsck",
        "fsck:fsck",
        "check everything in the remote",
        "Every log, manifest and pack that is needed: whether it is there, has its size and its index. Damage is\n"
        "named with the versions it hurts. Without --repair nothing is written. Exit code 9 when something is wrong.",
    )
    fsck.add_argument(
        "--read-data", type=_share, default=0.0, metavar="SHARE", help="read and hash so many of the packs: 5%%, 100%%"
    )
    fsck.add_argument("--seed", type=_seed, metavar="N", help="read the same packs as another check with this seed")
    fsck.add_argument(
        "--repair",
        action="store_true",
        help="bring back what other copies of the bytes allow, take the rest out of use",
    )

    copying = _verb(
        verbs,
        "copy",
        "copy:copy",
        "copy a version into another repository",
        "Every chunk is verified here and over there. Repeating a copy does nothing. Metadata, description and tags\n"
        "go along, aliases do not. The repository must be there: `syncd init URL` makes one.",
    )
    _reference(copying)
    copying.add_argument("--to", required=True, metavar="URL", help="the other repository's address")
    copying.add_argument(
        "--as", default="", metavar="[PROJECT/]NAME", dest="as_name", help="what it is called there (default: as here)"
    )


def _change(verbs: Any) -> None:
    remove = _verb(
        verbs,
        "rm",
        "change:remove",
        "mark a version deleted",
        "No bytes are freed before `gc`: until then `restore` brings the version back, without its aliases. When it\n"
        "was the latest, the one before it is that now.",
    )
    remove.add_argument("reference", metavar="[PROJECT/]NAME:V", help="the version, v3, or an alias of it")
    remove.add_argument("--force", action="store_true", help="also when it has aliases: they go with it")
    abort = _verb(
        verbs,
        "abort",
        "groups:abort",
        "end a group of ranks that will not become a version",
        "Its ranks' jobs end with an error, and what they contributed is garbage. A new attempt needs another group\n"
        "name. `show` names the groups that are open and the ranks that are missing.",
    )
    abort.add_argument("name", metavar="[PROJECT/]NAME", help="the artifact")
    abort.add_argument("--group", default="", metavar="G", help="which group; without it all that --older-than means")
    abort.add_argument("--reason", default="", metavar="TEXT", help="told to every rank")
    abort.add_argument(
        "--older-than", type=_seconds, metavar="S", help="only groups that began so long ago, by the remote's clock"
    )
    restore = _verb(verbs, "restore", "change:restore", "take a deletion back")
    restore.add_argument("reference", metavar="[PROJECT/]NAME:V", help="the version, v3")
    garbage = _verb(
        verbs,
        "gc",
        "garbage:gc",
        "delete the bytes that nothing needs any more",
        "Prints the plan first. What is condemned stays for the grace, and goes with a later gc. Safe beside uploads\n"
        "and other collections, whoever stalls; the daemon's credentials must be allowed to list and delete.\n"
        "D is a number of seconds, or one with a unit: 90s, 15m, 24h, 7d.",
    )
    garbage.add_argument("--dry-run", action="store_true", help="only print the plan")
    garbage.add_argument("--explain", metavar="NAME:V", help="say why a version's bytes are kept, and change nothing")
    garbage.add_argument(
        "--min-age", type=_age, default=86400.0, metavar="D", help="leave alone what is younger (default: 24h)"
    )
    garbage.add_argument(
        "--grace", type=_age, default=86400.0, metavar="D", help="how long condemned bytes stay (default: 24h)"
    )


def _jobs(verbs: Any) -> None:
    jobs = _verb(verbs, "jobs", "look:jobs", "list jobs, the newest first")
    jobs.add_argument("jobs", nargs="*", metavar="JOB", help=f"only these: {JOB}")
    which = jobs.add_mutually_exclusive_group()
    which.add_argument("--open", action="store_true", help="only those that have not ended")
    which.add_argument("--failed", action="store_true", help="only those that failed, and were not cancelled since")
    jobs.add_argument("-n", type=_count, default=50, metavar="N", dest="limit", help="at most so many (default: 50)")
    wait = _verb(
        verbs,
        "wait",
        "wait:wait",
        "wait until jobs have ended",
        "No job named: all that are open now. A job ends done, failed for good, or cancelled. While the remote\n"
        "is away it is tried again and waited for; exit code 7 when --timeout has passed before, and the error says\n"
        "what it waits for.",
    )
    wait.add_argument("jobs", nargs="*", metavar="JOB", help=JOB)
    wait.add_argument("--timeout", type=_seconds, metavar="S", help="patience in seconds; the jobs go on after it")
    cancel = _verb(verbs, "cancel", "change:cancel", "stop a job and let its files go")
    cancel.add_argument("job", metavar="JOB", help=JOB)


def _watch(verbs: Any) -> None:
    about = "turn new sub-directories into versions"
    watch: Parser = verbs.add_parser(
        "watch", help=about, description=f"{about.capitalize()}.", parents=[_common(defaults=False)]
    )
    inner = watch.add_subparsers(title="verbs", metavar="VERB", dest="watch_verb", required=True, parser_class=Parser)
    add = _verb(
        inner,
        "add",
        "watch:add",
        "watch a directory: each new sub-directory of it becomes a version",
        "A sub-directory is complete when it holds the done marker, if one is named; else when it has been quiet\n"
        "for --settle seconds and no file in it is open for writing. Those that are there already count as new.",
    )
    add.add_argument("directory", metavar="DIR", help="the directory whose sub-directories are taken")
    add.add_argument("--name", required=True, metavar="N", help="the artifact's name")
    add.add_argument("--type", required=True, metavar="T", help="its type")
    add.add_argument("--project", metavar="P", help="its project (default: $SYNCD_PROJECT, else the daemon's)")
    add.add_argument("--settle", type=_seconds, default=5.0, metavar="S", help="seconds of quiet (default: 5)")
    add.add_argument("--done-marker", default="", metavar="FILE", help="name of the file that says it is complete")
    _verb(inner, "ls", "watch:ls", "list watches and what they took")
    remove = _verb(inner, "rm", "watch:remove", "stop watching a directory", "Versions already taken stay.")
    remove.add_argument("directory", metavar="DIR", help="as `watch ls` shows it")


def _daemon(verbs: Any) -> None:
    _verb(verbs, "status", "look:status", "show the daemon at a glance")
    _verb(
        verbs, "ping", "daemon:ping", "ask whether the daemon is alive", "Starts none. Exit code 5 when none answers."
    )
    _verb(verbs, "shutdown", "daemon:shutdown", "stop the daemon", "Open jobs go on at its next start.")


def _reference(verb: Parser) -> None:
    verb.add_argument("reference", metavar="[PROJECT/]NAME[:VERSION|:ALIAS]", help="without either: the latest")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return value


def _share(text: str) -> float:
    number, percent = (text[:-1], 100.0) if text.endswith("%") else (text, 1.0)
    try:
        value = float(number) / percent
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"not a share: {text}; one is written 5% or 0.05")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"not a seed: {text}")
    return int(text)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _age(text: str) -> float:
    unit = _UNITS.get(text[-1:], 0)
    return _seconds(text[:-1]) * unit if unit else _seconds(text)


def _rank(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a rank: {text}")
    return int(text)


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"not a count: {text}")
    return value


def verbs_of(parser: Parser, deep: bool = True) -> Iterable[tuple[str, Parser]]:
    """Yield every verb as it is typed ("watch add") with its parser; not `deep`: only the first word of each."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        for name, verb in action.choices.items():
            inner = list(verbs_of(verb)) if deep else []
            yield from [(f"{name} {below}", leaf) for below, leaf in inner] or [(name, verb)]
