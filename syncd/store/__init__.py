"""Bytes under names: the remotes, each behind the same few verbs.

`base` holds the contract; `memory` and `local` keep it; `retry`, `limit` and `metered` are Stores around a Store and
add one behaviour each; `open` is the only module that knows them all and the only place where they are stacked.
What the bytes mean is repo's business.
"""
