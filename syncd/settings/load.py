"""Read the sources, check every word, and say where each value came from."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

from syncd.errors import InvalidInput, NotFound
from syncd.settings.kinds import PATH, URL
from syncd.settings.shape import CLIENT_ENV, KEYS, REMOTE_ENV, REMOTE_KEY, Remote, Settings, build, flatten
from syncd_client import paths

SYSTEM_FILE = b"/etc/syncd/config.toml"
DEFAULT_REMOTE = b"remote"

_SYSTEMD = {"state_dir": "STATE_DIRECTORY", "cache_dir": "CACHE_DIRECTORY"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `source` is a flag, an environment name, a file or "default"."""

    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each key, the files that were read and names that mean nothing.

    Attributes:
        unknown_env: `SYNCD_*` names nobody reads; `doctor` warns of them.
    """

    settings: Settings
    origins: dict[str, Origin]
    files: tuple[bytes, ...]
    unknown_env: tuple[str, ...]


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Return the settings; see `read`."""
    return read(flags, environ).settings


def read(
    flags: Mapping[str, object], environ: Mapping[str, str], *, system_file: bytes = SYSTEM_FILE, pid: int | None = None
) -> Loaded:
    """Merge flags, environment and files.

    Args:
        flags: dotted keys of KEYS, `remote`, and `config` (a file's path); a None means "not given".
        environ: the process's environment; where places default to is asked of the client's paths, which read it too.
        system_file: the machine-wide file.
        pid: this process, to know whether systemd's directories were meant for it; default the running one.

    Raises:
        InvalidInput: an unknown key (with the nearest known one), or a value of the wrong grammar; names key and place.
        NotFound: a configuration file that was asked for by name does not exist.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}

    def take(found: Mapping[str, Any], source: str | None = None) -> None:
        for key, value in found.items():
            values[key] = value
            origins[key] = Origin(source or key)

    files = config_files(flags, environ, system_file)
    for file in files:
        take(_from_file(file), f"file {os.fsdecode(file)}")
    for source, found in _from_environ(environ):
        take(found, source)
    for source, found in _from_systemd(environ, os.getpid() if pid is None else pid):
        take(found, source)
    for key, value in flags.items():
        if value is not None and key != "config":
            take(_one(key, value, f"flag --{key.replace('_', '-').replace('.', '-')}", from_text=True), f"flag --{key}")
    _fill(values)
    settings = build(values)
    check(settings)
    for key in (REMOTE_KEY, *KEYS):
        origins.setdefault(key, Origin("default"))
    origins.pop("remotes", None)
    return Loaded(settings, origins, files, _unknown(environ))


def config_files(
    flags: Mapping[str, object], environ: Mapping[str, str], system_file: bytes = SYSTEM_FILE
) -> tuple[bytes, ...]:
    """Return the files that count, weakest first; one asked for by name counts alone and must exist.

    Else the machine's, then the user's `config.toml`, each followed by the `conf.d/*.toml` beside it in order of names.
    """
    named = flags.get("config") or environ.get("SYNCD_CONFIG")
    if named:
        file = os.path.abspath(os.fsencode(str(named)))
        if not os.path.isfile(file):
            raise NotFound(f"no configuration file at {os.fsdecode(file)}", "", "check --config and SYNCD_CONFIG")
        return (file,)
    places = (system_file, user_file(environ))
    return tuple(file for place in places for file in (place, *_drop_ins(place)) if os.path.isfile(file))


def _drop_ins(file: bytes) -> list[bytes]:
    """Return the `conf.d/*.toml` beside a configuration file; the last one wins. Hidden files are editors' own."""
    folder = os.path.join(os.path.dirname(file), b"conf.d")
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InvalidInput(f"cannot read {os.fsdecode(folder)}", error.strerror or "", "check its mode") from error
    return [os.path.join(folder, name) for name in names if name.endswith(b".toml") and not name.startswith(b".")]


def user_file(environ: Mapping[str, str]) -> bytes:
    """Return where the user's own configuration file lies, whether or not it exists."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(_home(environ), ".config")
    return os.path.join(os.fsencode(base), b"syncd", b"config.toml")


def check(settings: Settings) -> None:
    """Refuse values that are each well-formed but make no sense."""
    cut = settings.chunker
    if any((cut.minimum, cut.average, cut.maximum)) and not 0 < cut.minimum < cut.average < cut.maximum:
        raise InvalidInput(
            "chunker.minimum, chunker.average and chunker.maximum do not fit together",
            f"minimum {cut.minimum}, average {cut.average}, maximum {cut.maximum}",
            "set all three, each larger than the one before, or none",
        )
    for key in (
        "upload.concurrency",
        "upload.hash_threads",
        "download.concurrency",
        "server.connections",
        "retry.tries",
    ):
        if flatten(settings)[key] < 1:
            raise InvalidInput(f"{key} is 0", "nothing would ever be done", "set it to 1 or more")


def _from_file(file: bytes) -> dict[str, Any]:
    place = os.fsdecode(file)
    try:
        with open(file, "rb") as stream:
            tree = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{place} is not TOML", str(error), "mend that line") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {place}", error.strerror or "", "check owner and mode of the file") from error
    found: dict[str, Any] = {}
    for key, value in _dotted(tree, "", place).items():
        found.update(_one(key, value, place, from_text=False))
    return found


def _dotted(tree: Mapping[str, Any], prefix: str, place: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, dict) and key not in KEYS:
            sections = tuple({known.rpartition(".")[0] for known in KEYS} - {""})
            if key not in sections:
                raise _unknown_key(key, place, sections)
            flat.update(_dotted(value, key + ".", place))
        else:
            flat[key] = value
    return flat


def _one(key: str, value: object, place: str, *, from_text: bool) -> dict[str, Any]:
    if key == REMOTE_KEY:
        return {"remotes": _remotes(value, place), REMOTE_KEY: None}
    if key not in KEYS:
        raise _unknown_key(key, place)
    kind = KEYS[key].about.kind
    try:
        return {key: kind.read(value, from_text)}
    except ValueError as error:
        raise InvalidInput(f"{key} in {place}: {error}", f"expected {kind.expected}", "correct that value") from error


def _remotes(value: object, place: str) -> tuple[Remote, ...]:
    rows = [{"url": value}] if isinstance(value, str) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InvalidInput(f"remote in {place} is no list", "expected [[remote]] with url = ...", "correct it")
    for row in rows:
        for name in row:
            if name not in ("url", "role"):
                raise _not_of_a_remote(name, place)
        if row.get("role", "primary") not in ("primary", "mirror"):
            expected = 'expected "primary" or "mirror"'
            raise InvalidInput(f"remote.role in {place}: {row['role']!r}", expected, "correct that value")
    for role in ("primary", "mirror"):
        count = sum(row.get("role", "primary") == role for row in rows)
        if count > 1:
            raise InvalidInput(f"{place} names {count} {role} remotes", "one is used", "remove the others")
    if all(row.get("role") == "mirror" for row in rows):
        raise InvalidInput(f"{place} names a mirror and no primary", "a mirror follows something", "add the primary")
    try:
        found = [Remote(URL.read(row.get("url", ""), True), row.get("role", "primary")) for row in rows]
        return tuple(sorted(found, key=lambda remote: remote.role == "mirror"))
    except ValueError as error:
        raise InvalidInput(
            f"remote.url in {place}: {error}", f"expected {URL.expected}", "correct that value"
        ) from error


def _not_of_a_remote(name: str, place: str) -> InvalidInput:
    meant = difflib.get_close_matches(name, [key for key in KEYS if "." not in key], 1, 0.7)
    if not meant:
        return _unknown_key(f"remote.{name}", place, ("remote.url", "remote.role"))
    return InvalidInput(
        f"unknown setting remote.{name} in {place}",
        "a key below [[remote]] belongs to the remote",
        f"move {meant[0]} above [[remote]]" if meant[0] == name else f"write {meant[0]}, above [[remote]]",
    )


def _unknown_key(key: str, place: str, known: tuple[str, ...] = (*KEYS, REMOTE_KEY)) -> InvalidInput:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    near = near or [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    hint = f"did you mean {near[0]}?" if near else "the keys are listed in docs/OPERATIONS.md"
    return InvalidInput(f"unknown setting {key} in {place}", "nothing reads it", hint)


def _from_environ(environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, key in (*((known.env, known.name) for known in KEYS.values()), (REMOTE_ENV, REMOTE_KEY)):
        text = environ.get(name, "")
        if not text:
            continue
        if key in KEYS and KEYS[key].about.kind is PATH and not text.startswith("~"):
            text = os.path.abspath(text)  # relative to where the variable was set, as a shell user means it
        found.append((name, _one(key, text, f"the environment ({name})", from_text=True)))
    return found


def _from_systemd(environ: Mapping[str, str], pid: int) -> list[tuple[str, dict[str, Any]]]:
    # A trainer started by systemd hands its own STATE_DIRECTORY down; only the process systemd itself made may use it.
    if environ.get("SYSTEMD_EXEC_PID", str(pid)) != str(pid):
        return []
    found = []
    for key, name in _SYSTEMD.items():
        first = environ.get(name, "").partition(":")[0]
        if first.startswith("/"):
            found.append((f"systemd's {name}", {key: os.fsencode(first)}))
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime.startswith("/") and not environ.get("SYNCD_SOCKET"):
        found.append(("systemd's RUNTIME_DIRECTORY", {"socket": os.fsencode(runtime) + b"/syncd.sock"}))
    return found


def _fill(values: dict[str, Any]) -> None:
    values.pop(REMOTE_KEY, None)
    # Asked for only where nothing is set: finding a socket's default place may make a private directory.
    for key, place in (
        ("state_dir", paths.state_dir),
        ("cache_dir", paths.cache_dir),
        ("socket", paths.default_socket),
    ):
        if key not in values:
            values[key] = place()
    if "remotes" not in values:
        place_of_remote = os.path.join(values["state_dir"], DEFAULT_REMOTE)
        values["remotes"] = (Remote("file://" + quote_from_bytes(place_of_remote)),)


def _unknown(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {key.env for key in KEYS.values()} | {REMOTE_ENV} | set(CLIENT_ENV)
    return tuple(sorted(name for name in environ if name.startswith("SYNCD_") and name not in known))


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")
