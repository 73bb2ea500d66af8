"""The verbs a person could say, typed in and typed out; both doors speak to nothing else.

Thin: each verb checks its words, asks the rooms below and answers with a view. `logging` takes work in (drafts, pins,
jobs), `history` tells and changes what the remote's logs say, `status` tells how the daemon is.
"""

from syncd.service.service import Service, ServiceParts

__all__ = ["Service", "ServiceParts"]
