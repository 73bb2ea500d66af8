"""What this node promised, in SQLite, on a local disk.

One connection, one writer lane of one thread: every statement of the daemon runs there, in order, so nothing here
needs a lock. A transaction is *durable* (synchronous=FULL: an fsync before it returns) when it backs a promise, and
merely *ordered* (NORMAL: survives kill -9, a power cut may roll it back) when it records progress that can be redone.

Rows, not blobs of state. Each subject has a file with its own verbs: jobs, pins, packs, watches, runs, memory (logs and
facts as last seen); `core` knows only how to open, migrate and run transactions, `mark` whether the last life closed
the file in good order. What ended long ago is forgotten (`prune`). Nothing lives only here but jobs not yet committed:
a lost or corrupt journal costs those, and nothing else.
"""
