"""`python -m syncd` and the console script `syncd`: the one place where the process ends."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from syncd.commands.main import run

log = logging.getLogger("syncd")


def main() -> NoReturn:
    """Run the command line and end the process."""
    try:
        code = run(sys.argv[1:])
    except BaseException:
        log.exception("a fault of syncd's own")
        leave(1)
    leave(code)


def leave(code: int) -> NoReturn:
    """Say what is still to be said and end the process at once, without winding the interpreter down.

    The object store's library has threads of its own. One of them that comes back to Python while the interpreter is
    being taken apart ends the process with SIGABRT (seen in 1 of 20 to 6 of 15 runs): an exit code of 134, a core dump
    and a failed unit after work that went well. All that needed an orderly end has had it: what `run` calls closes what
    it opened.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            pass  # the reader left: nothing more to say
        except (OSError, ValueError):
            code = code or 1  # the disk behind a redirection is full: not everything was said
    os._exit(code)


if __name__ == "__main__":
    main()
