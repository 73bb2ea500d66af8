"""Every setting: its key, meaning, grammar and default. The only list of them.

A field's key is its dotted place (`upload.concurrency`), its environment name the same in capitals with underscores
(`SYNCD_UPLOAD_CONCURRENCY`). Sizes are bytes, durations seconds, paths bytes; 0 means "no bound" where it says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from syncd.settings.kinds import COUNT, DURATION, PATH, PATHS, SHARE, SIZE, SWITCH, TEXT, WEB, Kind, choice

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class About:
    """What a key means and which grammar its value follows."""

    help: str
    kind: Kind
    default: str = ""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Remote(msgspec.Struct, frozen=True):
    """One bucket or directory: the primary, which everything is committed to, or a mirror, which follows it."""

    url: str
    role: Literal["primary", "mirror"] = "primary"


class UploadSettings(msgspec.Struct, frozen=True):
    """The way up: cutting, packing, sending."""

    concurrency: Annotated[int, About("packs sent at once", COUNT)] = 4
    hash_threads: Annotated[int, About("threads that read, cut and hash", COUNT, "one a core")] = msgspec.field(
        default_factory=cores
    )
    compression: Annotated[str, About("try zstd on each chunk, or never", choice("auto", "off"))] = "auto"
    pack_target: Annotated[int, About("size at which a pack is closed and sent (16 to 32 MiB)", SIZE)] = 16 * MIB


class DownloadSettings(msgspec.Struct, frozen=True):
    """The way down."""

    concurrency: Annotated[int, About("ranges fetched at once", COUNT)] = 8


class PinSettings(msgspec.Struct, frozen=True):
    """How logged bytes are kept from changing."""

    spool_budget: Annotated[int, About("bytes the spool may hold, 0 for no bound but the reserve", SIZE)] = 0
    reserve: Annotated[int, About("free space on a disk that the spool never touches", SIZE)] = GIB
    copy_limit: Annotated[int, About("files up to this size are copied at once, not leased", SIZE)] = 64 * KIB
    lease_share: Annotated[float, About("share of the open-files limit that leases may take", SHARE)] = 0.5
    lease_limit: Annotated[int, About("most leases held at once, 0 for that share alone", COUNT)] = 0
    spool_dirs: Annotated[
        tuple[bytes, ...], About("spools are made in one of these only; none: on the files' own disk", PATHS)
    ] = ()
    break_time: Annotated[float, About("time the kernel holds a writer, 0 to ask it", DURATION)] = 0.0
    copy_rate: Annotated[int, About("bytes a second a rescue copies, 0 to measure it", SIZE)] = 0


class ChunkerSettings(msgspec.Struct, frozen=True):
    """Cut points of a repository that is created with these settings; an existing one keeps its own. 0: the default."""

    minimum: Annotated[int, About("no chunk is shorter, but a file's last", SIZE)] = 0
    average: Annotated[int, About("length aimed at", SIZE)] = 0
    maximum: Annotated[int, About("no chunk is longer", SIZE)] = 0


class PagesSettings(msgspec.Struct, frozen=True):
    """How manifests of a repository created with these settings are cut. 0: the format's default."""

    average: Annotated[int, About("entries a page aimed at", COUNT)] = 0
    maximum: Annotated[int, About("no page has more entries", COUNT)] = 0


class RetrySettings(msgspec.Struct, frozen=True):
    """What happens when the remote does not answer. A job never gives up on a fault that may pass."""

    tries: Annotated[int, About("how often one request is tried before its job pauses", COUNT)] = 5
    first: Annotated[float, About("pause after a request's first failure; it doubles", DURATION)] = 0.2
    longest: Annotated[float, About("pauses between requests grow up to this", DURATION)] = 10.0


class WatchSettings(msgspec.Struct, frozen=True):
    """Watched directories."""

    scan: Annotated[float, About("a watched directory is scanned at least so often", DURATION)] = 10.0


class ServerSettings(msgspec.Struct, frozen=True):
    """The unix socket."""

    connections: Annotated[int, About("clients served at once; one more is answered `busy`", COUNT)] = 1000
    draft_ttl: Annotated[float, About("a draft whose client is gone is dropped after this", DURATION)] = 600.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a daemon is told from outside."""

    remotes: tuple[Remote, ...]
    state_dir: Annotated[bytes, About("journal, log file, spool of last resort; on a local disk", PATH)]
    cache_dir: Annotated[bytes, About("what may be deleted at any time", PATH)]
    socket: Annotated[bytes, About("the unix socket clients talk to", PATH)]
    project: Annotated[str, About("project of clients that name none", TEXT)] = "uncategorized"
    memory_budget: Annotated[int, About("bytes in flight, uploads and downloads together", SIZE)] = 256 * MIB
    bandwidth: Annotated[int, About("bytes a second to and from the remote, 0 for no bound", SIZE)] = 0
    web: Annotated[str, About("where the page, /metrics and /healthz are served", WEB)] = "off"
    idle_exit: Annotated[float, About("an autostarted daemon leaves after so long without work", DURATION)] = 600.0
    pure: Annotated[bool, About("use the Python chunker even where the C one exists (slow)", SWITCH)] = False
    uvloop: Annotated[bool, About("run on uvloop", SWITCH)] = True
    log_level: Annotated[str, About("what is logged", choice("debug", "info", "warning", "error"))] = "info"
    upload: UploadSettings = UploadSettings()
    download: DownloadSettings = DownloadSettings()
    pin: PinSettings = PinSettings()
    chunker: ChunkerSettings = ChunkerSettings()
    pages: PagesSettings = PagesSettings()
    retry: RetrySettings = RetrySettings()
    watch: WatchSettings = WatchSettings()
    server: ServerSettings = ServerSettings()

    @property
    def primary(self) -> Remote:
        """The remote everything is committed to."""
        return self.remotes[0]

    @property
    def mirror(self) -> Remote | None:
        """The remote that receives every version after the primary, if there is one."""
        return next((remote for remote in self.remotes if remote.role == "mirror"), None)


@dataclass(frozen=True, slots=True)
class Key:
    """One setting as the outside names it."""

    name: str
    env: str
    about: About


def _walk(struct: type[msgspec.Struct], prefix: str) -> list[Key]:
    keys = []
    for name, hint in get_type_hints(struct, include_extras=True).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            keys += _walk(hint, f"{prefix}{name}.")
        for note in getattr(hint, "__metadata__", ()):
            dotted = prefix + name
            keys.append(Key(dotted, "SYNCD_" + dotted.upper().replace(".", "_"), note))
    return keys


KEYS: dict[str, Key] = {key.name: key for key in _walk(Settings, "")}
"""Every setting but the remotes, which are a list: key `remote`, environment SYNCD_REMOTE."""

REMOTE_KEY = "remote"
REMOTE_ENV = "SYNCD_REMOTE"

CLIENT_ENV = {
    "SYNCD_CONFIG": "the configuration file, instead of the user's and the system's",
    "SYNCD_AUTOSTART": "0: clients never start a daemon by themselves",
    "SYNCD_ARTIFACT_DIR": "where clients put downloads (default ./artifacts)",
    "SYNCD_RUN_ID": "the run's id, where the script gives none",
    "SYNCD_SILENT": "anything: the client library tells nothing on standard error",
}
"""Names in the environment that are not settings of the daemon, but known."""


def build(values: dict[str, Any]) -> Settings:
    """Make the tree from dotted values; keys left out keep their defaults."""
    top: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if section:
            parts.setdefault(section, {})[name] = value
        else:
            top[key] = value
    hints = get_type_hints(Settings)
    for section, fields in parts.items():
        top[section] = hints[section](**fields)
    return Settings(**top)


def flatten(settings: Settings) -> dict[str, Any]:
    """Return every key of KEYS with its value."""
    flat = {}
    for key in KEYS:
        value: Any = settings
        for step in key.split("."):
            value = getattr(value, step)
        flat[key] = value
    return flat
