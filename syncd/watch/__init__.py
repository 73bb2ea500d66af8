"""Watched directories: each sub-directory becomes one version, once its writer has finished.

**The truth is a scan.** A look at a sub-directory walks it and hashes what it saw (names, types, modes, sizes, mtimes,
inodes) into a *signature*. inotify (through watchfiles) only makes the next scan come sooner: events get lost, network
file systems have none, and nothing here depends on one.

**When is it complete?** Named a done marker: when that file is there. Else when it has looked the same for `settle`
seconds *and* a read lease is granted on every file in it: the kernel grants one only while nobody has the file open
for writing, so an open file that its writer merely neglects is never mistaken for a finished one. Where the file
system has no leases quiet alone decides, and the view says "unproven".

**No torn file, ever.** Taking pins every file first (refused while one is open for writing), then looks again: if the
signature moved meanwhile, the pins are dropped and the sub-directory is pending as before. What changes after that
second look is a further version; the view says so.

**Taken once.** The job's draft id is derived from what was seen, so a crash between the job's acceptance and the row
that records it meets the same job again instead of making a second one.

What it refuses to do: follow symbolic links out of a sub-directory, take anything while files in it are being written,
take an empty sub-directory (deleting an old checkpoint must not make a version), or forget a watch because its
directory is gone for a while.

`settle` is pure; `scan` walks; `proof` asks for leases; `hints` listens; `taking` pins and logs; `watched` is one
watch's memory; `watcher` runs it all.
"""
