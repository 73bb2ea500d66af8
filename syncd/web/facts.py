"""What this door may ask of the service: five questions, no verb that changes anything."""

from __future__ import annotations

from typing import Protocol

from syncd.model.views import ArtifactView, JobView, StatusView


class Facts(Protocol):
    """`syncd.service.Service` is one. Only the artifacts may need the remote; they are asked for rarely."""

    async def status(self) -> StatusView:
        """The daemon at a glance."""
        ...

    async def listed_jobs(self, limit: int) -> list[JobView]:
        """At most `limit` jobs, newest first."""
        ...

    async def listed_artifacts(self, limit: int) -> list[ArtifactView]:
        """At most `limit` artifacts; SyncdError where the remote cannot say."""
        ...

    async def alive(self) -> bool:
        """Whether the loop runs and the journal answers: else restart the daemon."""
        ...

    async def ready(self) -> bool:
        """Whether new work is accepted: not while draining."""
        ...
