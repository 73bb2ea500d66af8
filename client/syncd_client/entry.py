"""One entry of an artifact as its maker sees it, with the receipt of its pin."""

from __future__ import annotations

from dataclasses import dataclass

from syncd_client.wire.messages import Receipt


@dataclass(frozen=True, slots=True)
class ArtifactManifestEntry:
    """One file that was added: its path in the artifact, its size in bytes, where it came from.

    `receipt` says how its bytes were pinned; `digest` is empty, for nothing was hashed yet.
    """

    path: str
    size: int
    local_path: str
    receipt: Receipt
    digest: str = ""
    ref: str | None = None
