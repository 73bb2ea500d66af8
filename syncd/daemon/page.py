"""What the page may ask, answered by the service."""

from __future__ import annotations

from syncd.model.views import ArtifactView, JobView, StatusView
from syncd.service import Service


class PageFacts:
    """The service, seen through `web.facts.Facts`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def status(self) -> StatusView:
        """The daemon at a glance."""
        return await self._service.status()

    async def jobs(self, limit: int) -> list[JobView]:
        """The newest jobs."""
        return await self._service.jobs.page(False, "", limit)

    async def artifacts(self, limit: int) -> list[ArtifactView]:
        """Artifacts of all projects, the one changed last first."""
        page, _ = await self._service.history.artifacts("", "", 1000)
        return sorted(page, key=lambda artifact: -artifact.updated)[:limit]

    async def alive(self) -> bool:
        """Whether the journal answers."""
        return await self._service.alive()

    async def ready(self) -> bool:
        """Whether new work is accepted."""
        return not self._service.stopped.is_set()
