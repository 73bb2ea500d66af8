"""What the bucket means: packs, manifests, logs and the histories replayed from them.

The one idea: a repository is a set of append-only *logs*, and whatever people see (versions, aliases, `latest`) is a
deterministic replay of one. A log entry is created only when everything it refers to is durable (law L1), so a reader
that holds an entry can read all of it; nothing else is ever looked up by listing.

Nothing from the remote is believed before it is checked (law L6): an entry against the hash its successor and this
node's journal remember, a manifest against the entry, a page against the manifest, a chunk against its hash.
"""
