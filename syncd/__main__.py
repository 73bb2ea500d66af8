"""`python -m syncd` and the console script `syncd`."""

from __future__ import annotations

import sys

from syncd.commands.main import run


def main() -> None:
    """Run the command line and end the process."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
