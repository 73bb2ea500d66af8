"""Durable verbs on local files: the only place that writes, links, syncs and renames.

Every verb but `restore` blocks and is called inside a lane. Paths are bytes. What "durable" takes is written here
once: data fsynced before its name appears, the directory fsynced after. Verbs raise OSError as the kernel said it;
the room that asked knows what the path meant and translates with `disk_error` (or to its own remote error).

`Disk` is a class without state so that it can be handed in: crash tests wrap it and die in the n-th verb.
"""

from syncd.disk.moving import Write
from syncd.disk.trouble import disk_error
from syncd.disk.verbs import Disk

__all__ = ["Disk", "Write", "disk_error"]
