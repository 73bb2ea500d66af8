"""The verbs a person could say, typed in and typed out; both doors speak to nothing else.

Thin: each verb checks its words, asks the rooms below and answers with a view. `drafts` takes work in (files, versions
to restore), `jobs` tells, awaits and cancels it, `history` tells and changes what the remote's logs say, `pruning`
forgets what ended long ago; `service` holds them together and tells how the daemon is.
"""

from syncd.service.service import Service, ServiceParts

__all__ = ["Service", "ServiceParts"]
