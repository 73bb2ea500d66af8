"""Log machine-learning artifacts through the syncd daemon, and get them back: `import syncd_client as wandb`.

The names, argument order and defaults are those of W&B, so that the examples of its documentation run. Everything is
loaded when it is first used: importing this costs a few milliseconds. The asyncio flavour is `syncd_client.aio`.
"""

from __future__ import annotations

from syncd_client._version import __version__

TYPE_CHECKING = False  # typing's own costs 15 ms to import; a type checker knows this name
if TYPE_CHECKING:
    from typing import Any

    from syncd_client.artifact import Artifact as Artifact
    from syncd_client.connection import Connection as Connection
    from syncd_client.entry import ArtifactManifestEntry as ArtifactManifestEntry
    from syncd_client.errors import ArtifactFinalizedError as ArtifactFinalizedError
    from syncd_client.errors import ArtifactNotLoggedError as ArtifactNotLoggedError
    from syncd_client.errors import ArtifactStatusError as ArtifactStatusError
    from syncd_client.errors import CommError as CommError
    from syncd_client.errors import DaemonUnavailable as DaemonUnavailable
    from syncd_client.errors import Error as Error
    from syncd_client.errors import UsageError as UsageError
    from syncd_client.errors import WaitTimeoutError as WaitTimeoutError
    from syncd_client.runs import Run as Run
    from syncd_client.runs import finish as finish
    from syncd_client.runs import init as init
    from syncd_client.runs import log_artifact as log_artifact
    from syncd_client.runs import use_artifact as use_artifact

    run: Run | None

_HOME = {
    "Artifact": "artifact",
    "ArtifactFinalizedError": "errors",
    "ArtifactManifestEntry": "entry",
    "ArtifactNotLoggedError": "errors",
    "ArtifactStatusError": "errors",
    "CommError": "errors",
    "Connection": "connection",
    "DaemonUnavailable": "errors",
    "Error": "errors",
    "Run": "runs",
    "UsageError": "errors",
    "WaitTimeoutError": "errors",
    "finish": "runs",
    "init": "runs",
    "log_artifact": "runs",
    "use_artifact": "runs",
}
_ROOMS = ("aio", "errors")

__all__ = [*sorted(_HOME), *_ROOMS, "__version__", "run"]  # noqa: PLE0604 - all of them are text


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"syncd_client.{name}")
    if name == "run":
        return import_module("syncd_client.runs").current()
    if name not in _HOME:
        raise AttributeError(_why_not(name), name=name)
    found = getattr(import_module(f"syncd_client.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def _why_not(name: str) -> str:
    if name.startswith("_"):
        return f"module 'syncd_client' has no attribute {name!r}"
    from syncd_client.missing import MODULE, told

    if name in MODULE:
        return told(f"syncd_client.{name}", MODULE[name])
    return f"module 'syncd_client' has no attribute {name!r}: of W&B it has what logs and uses artifacts, nothing else"


def __dir__() -> list[str]:
    return list(__all__)
