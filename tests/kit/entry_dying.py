"""`python -m tests.kit.entry_dying`: the real daemon with the kit's wrappers around store, journal and disk.

Environment: KIT_RECORD names the file of the record; KIT_DIE_AT and KIT_DIE_SIDE the effect to die in, if any.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from syncd.daemon.serve import serve
from syncd.settings import load
from tests.kit.dying import BEFORE, Fate, Record, seams


def main() -> int:
    environ = dict(os.environ)
    fate = Fate(
        Record(Path(environ["KIT_RECORD"])), int(environ.get("KIT_DIE_AT", 0)), environ.get("KIT_DIE_SIDE", BEFORE)
    )
    return serve(load({}, environ), autostarted=False, seams=seams(fate))


if __name__ == "__main__":
    sys.exit(main())
