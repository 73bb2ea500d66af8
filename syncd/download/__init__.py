"""One download, from a version in the log to files in a directory, verified to the last byte.

    plan -> fetch -> place        (run.py joins them)

`plan` checks every path and link before anything is written and groups entries. `fetch` finds out what an earlier try
left (ranges that already hash right are not fetched again), reads the rest in coalesced ranges and verifies each chunk.
`place` syncs a finished file and renames it to its place; nothing is ever seen half, and nothing is ever written
outside the target directory, whatever the manifest or the directory says.

What a crash leaves: a directory `.syncd-<job>` in the target with half-finished files. The next try hashes what is
there and fetches only the rest; the last step removes it.
"""
