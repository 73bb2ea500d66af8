"""How a collection goes about it. Ages in seconds, each the difference of two times that the store gave."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class CollectParams:
    """What may be chosen.

    Attributes:
        min_age: younger packs and manifests are not condemned: uploads that go on need them. Only a hint; none is lost.
        grace: how long what is condemned stays after its epoch has ended: running downloads may still read it.
        wip_ttl: how long the list of packs that an upload left is believed.
        sparse: a pack of whose bytes a smaller part than this is needed is rewritten.
    """

    min_age: float = DAY
    grace: float = DAY
    wip_ttl: float = 7 * DAY
    sparse: float = 0.3
