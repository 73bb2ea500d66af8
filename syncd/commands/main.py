"""The program `syncd`: its verbs and what it ends with."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from syncd import __version__
from syncd.commands.check import check
from syncd.commands.config import config
from syncd.commands.doctor import doctor
from syncd.commands.init import init
from syncd.commands.say import Manner, manners, report
from syncd.commands.serve import serve
from syncd.errors import SyncdError
from syncd_client import errors as client_errors
from syncd_client.wire.errors import FAILED, INTERRUPTED, OK


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="syncd")
@manners
def syncd() -> None:
    """Background uploader for machine-learning artifacts: the daemon's side.

    Logging and fetching artifacts is done with `syncctl` or the Python library syncd_client.
    """


for verb in (serve, init, check, doctor, config):
    syncd.add_command(verb)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code (docs/OPERATIONS.md has the table)."""
    manner = Manner()
    try:
        code = syncd.main(list(arguments), prog_name="syncd", standalone_mode=False, obj=manner)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (SyncdError, client_errors.Error) as error:
        return report(error, manner)
    except BrokenPipeError:
        # The reader left (a pager, head): nothing more to say, and Python must not complain at exit.
        sys.stderr.close()
        return FAILED
    return code if isinstance(code, int) else OK
