"""One command line: parse, run the verb, turn what goes wrong into three lines at most and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from syncd_client.cli.parser import UsageError, build

if TYPE_CHECKING:
    from syncd_client.cli.console import Console

Verb = Callable[[Namespace, "Console"], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `syncctl` with these arguments (the process's own when None) and return the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        args = build().parse_args(given)
    except UsageError as error:
        return _wrong_usage(error, "--json" in given)
    except SystemExit as end:  # --help and --version have printed
        return int(end.code or 0)
    try:
        return _run(args)
    except KeyboardInterrupt:  # so early that nothing was asked yet
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        return _without_output()
    except OSError as error:
        print(f"syncctl: the answer cannot be printed\n{error.strerror or error}", file=sys.stderr)
        return _without_output()


def _without_output() -> int:
    """Keep the interpreter from flushing once more what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _run(args: Namespace) -> int:
    from syncd_client import errors
    from syncd_client.cli.console import Console

    with Console(json=args.json, quiet=args.quiet, socket=args.socket) as console:
        try:
            code = verb_function(args.run)(args, console)
        except errors.Error as error:
            console.fail(error)
            code = error.exit_code
        except KeyboardInterrupt:
            console.interrupted()
            code = errors.INTERRUPTED
        sys.stdout.flush()
        return code


def verb_function(target: str) -> Verb:
    """Return the function that "module:function" names."""
    module, _, name = target.partition(":")
    verb: Verb = getattr(importlib.import_module(module), name)
    return verb


def _wrong_usage(error: UsageError, as_json: bool) -> int:
    from syncd_client import errors
    from syncd_client.cli.console import Console

    verb = error.program.removeprefix("syncctl").strip()
    what = f"{verb}: {error.what}" if verb else error.what
    with Console(json=as_json, quiet=False, socket=None) as console:
        console.fail(errors.InvalidInput(what, error.usage, f"see `{error.program} --help`"))
    return errors.USAGE


if __name__ == "__main__":
    sys.exit(main())
