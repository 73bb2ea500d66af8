"""What this door may ask of the service: five questions, no verb that changes anything."""

from __future__ import annotations

from typing import Protocol

from syncd.model.views import ArtifactView, JobView, StatusView


class Facts(Protocol):
    """Answers come soon and from what this node knows: a page must not wait for a slow remote."""

    async def status(self) -> StatusView:
        """The daemon at a glance."""
        ...

    async def jobs(self, limit: int) -> list[JobView]:
        """At most `limit` jobs, newest first."""
        ...

    async def artifacts(self, limit: int) -> list[ArtifactView]:
        """At most `limit` artifacts, newest first; SyncdError where the remote cannot say."""
        ...

    async def alive(self) -> bool:
        """Whether the loop runs and the journal answers: else restart the daemon."""
        ...

    async def ready(self) -> bool:
        """Whether new work is accepted: not starting, not draining."""
        ...
