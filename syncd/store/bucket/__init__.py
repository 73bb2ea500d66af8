"""Remotes in object stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage, through obstore.

The one idea: one object, one plain request. What these stores do the same everywhere is a single PUT, a single PUT
that must find nothing (`If-None-Match: *`, on Google's a generation of 0), a ranged GET, a HEAD and a DELETE; nothing
else is used. No multipart upload, no If-Match, no copy, no list offset: each was seen to differ or to fail silently
(docs/decisions/0004-buckets.md has what was measured).

What is refused on purpose:

* to say who won. A create whose answer was lost, or that the store called a conflict, may have been stored: all of
  that is law L4's business (repo/log.py), so creates are tried exactly once and no answer is interpreted.
* to hide tries. The library's own retries are off for everything that writes; Retry around this store insists, the
  meter counts. Reads keep a few, because only the library can go on in the middle of a broken answer.
* to repeat what a store or a library says. Its words may hold a signed address or a proxy's password; what is told is
  the status, the error's code word and what to do (answers.py).

`store` has the verbs, `clients` builds the library's objects from an address and the environment, `credentials` finds
AWS profiles, which the library does not read, `answers` turns every answer into one of ours.
"""

from syncd.store.bucket.clients import found_credentials
from syncd.store.bucket.store import BucketStore, Patience, open_bucket

__all__ = ["BucketStore", "Patience", "found_credentials", "open_bucket"]
