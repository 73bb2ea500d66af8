"""Settings: file and environment in, one frozen `Settings` out.

The room stands above every other room but the daemon and the commands, so nothing below can reach for "the config":
each room declares the small parameters it needs and the daemon hands them over. A key exists in one place, its
field in `shape.py`, with its meaning, its grammar and its default; the environment's name, the file's key, the error
texts, `syncd config show` and the table in docs/OPERATIONS.md follow from that field.

Who wins: flags, then systemd's own directories, then `SYNCD_*`, then the user's file, then the system's, then defaults.
"""

from syncd.settings.load import Loaded, load, read
from syncd.settings.shape import Remote, Settings

__all__ = ["Loaded", "Remote", "Settings", "load", "read"]
