"""Checks of `syncd doctor` on the machine: interpreter, chunker, loop, kernel limits, clock, environment."""

from __future__ import annotations

import ctypes
import difflib
import importlib.util
import os
import platform
import resource
import sys
from collections.abc import Iterator

from syncd.commands.finding import Finding, fail, ok, warn
from syncd.errors import SyncdError
from syncd.format import chunker
from syncd.settings import Loaded, Settings
from syncd.settings.shape import KEYS

APT_COMPILER = "apt-get install gcc python3-dev, then install syncd again"
MIN_FILES = 4096
MIN_LEASE_BREAK_S = 10
MIN_WATCHES = 8192
_STA_UNSYNC = 0x40


def check_node(loaded: Loaded) -> Iterator[Finding]:
    """Yield what there is to say of this machine; nothing here leaves a trace."""
    yield _python()
    yield _chunker(loaded.settings)
    yield _loop(loaded.settings)
    yield _files()
    yield _kernel_number("lease-break-time", "/proc/sys/fs/lease-break-time", MIN_LEASE_BREAK_S, "s to rescue bytes")
    yield _kernel_number("inotify", "/proc/sys/fs/inotify/max_user_watches", MIN_WATCHES, "directories to watch")
    yield _kernel_number("inotify-instances", "/proc/sys/fs/inotify/max_user_instances", 16, "watchers a user")
    yield _hardlinks()
    yield _clock()
    yield from _names(loaded)


def _python() -> Finding:
    text = f"Python {platform.python_version()} at {sys.executable}"
    return ok("python", text)


def _chunker(settings: Settings) -> Finding:
    try:
        name = chunker.load(settings.pure).name
    except SyncdError as error:
        return fail("chunker", str(error), "install syncd again")
    if name != "python":
        return ok("chunker", f"C extension ({name}): gigabytes a second")
    if settings.pure:
        return warn("chunker", "pure Python, because `pure` is set: a few MB/s", "unset SYNCD_PURE")
    return warn("chunker", "pure Python: right, but a few MB/s only (no C extension was built)", APT_COMPILER)


def _loop(settings: Settings) -> Finding:
    if not settings.uvloop:
        return ok("loop", "asyncio's own (uvloop is turned off)")
    if importlib.util.find_spec("uvloop") is None:
        return warn("loop", "uvloop is not installed", "pip install uvloop, or set SYNCD_UVLOOP=0")
    return ok("loop", "uvloop")


def _files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_FILES:
        text = f"at most {hard} open files: beyond {hard // 2} pinned files are copied"
        return warn("open-files", text, "raise the hard limit (LimitNOFILE=, /etc/security/limits.d)")
    return ok("open-files", f"at most {'any number of' if hard == resource.RLIM_INFINITY else hard} open files")


def _kernel_number(check: str, path: str, least: int, what: str) -> Finding:
    value = _read_number(path)
    if value is None:
        return warn(check, f"{path} cannot be read", "mount /proc, or ask who runs this container")
    if value < least:
        return warn(check, f"{value} {what}", f"sysctl -w {path.removeprefix('/proc/sys/').replace('/', '.')}={least}")
    return ok(check, f"{value} {what}")


def _hardlinks() -> Finding:
    value = _read_number("/proc/sys/fs/protected_hardlinks")
    if value is None:
        return warn("hardlinks", "fs.protected_hardlinks cannot be read", "mount /proc")
    own = "only files of this user are linked into the spool, others are copied" if value else "any readable file"
    return ok("hardlinks", f"fs.protected_hardlinks = {value}: {own}")


def _clock() -> Finding:
    libc = ctypes.CDLL(None, use_errno=True)
    record = ctypes.create_string_buffer(512)  # struct timex, all zero: a question, no change
    state = libc.adjtimex(record)
    status = ctypes.c_int.from_buffer(record, ctypes.sizeof(ctypes.c_long) * 5).value
    if state < 0:
        return ok("clock", "its state cannot be read here; no decision rests on it")
    if status & _STA_UNSYNC:
        hint = "run chrony or systemd-timesyncd; times shown may be wrong, what is committed is not"
        return warn("clock", "not synchronised with the network's time", hint)
    return ok("clock", "synchronised")


def _names(loaded: Loaded) -> Iterator[Finding]:
    for name in loaded.unknown_env:
        near = difflib.get_close_matches(name, [key.env for key in KEYS.values()], 1)
        yield warn(
            "environment", f"{name} is set, but nothing reads it", f"did you mean {near[0]}?" if near else "unset it"
        )
    files = ", ".join(os.fsdecode(file) for file in loaded.files) or "no file, only defaults and the environment"
    yield ok("settings", files)


def _read_number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return None
