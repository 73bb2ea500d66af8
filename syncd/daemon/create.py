"""What a repository gets when these settings make it; an existing one keeps its own."""

from __future__ import annotations

from syncd import __version__
from syncd.format.chunker import DEFAULT, Params
from syncd.format.paging import DEFAULT_PAGES, PageParams
from syncd.repo.init import NewRepository
from syncd.settings import Settings


def new_repository(settings: Settings) -> NewRepository:
    """Return the constants of a new repository: those set, else the format's defaults."""
    cut, pages = settings.chunker, settings.pages
    return NewRepository(
        chunker=Params(
            DEFAULT.id,
            cut.minimum or DEFAULT.minimum,
            cut.average or DEFAULT.average,
            cut.maximum or DEFAULT.maximum,
        ),
        pages=PageParams(pages.average or DEFAULT_PAGES.average, pages.maximum or DEFAULT_PAGES.maximum),
        pack_target=settings.upload.pack_target,
        created_by=f"syncd {__version__}",
    )
