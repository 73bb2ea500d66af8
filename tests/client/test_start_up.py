"""Importing the client is cheap, and its public names are a list."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import syncd_client

CLIENT = os.path.dirname(os.path.dirname(syncd_client.__file__))


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {CLIENT!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_importing_loads_nothing_heavy():
    heavy = "{'asyncio', 'dataclasses', 'inspect', 'typing', 'msgpack', 'subprocess', 'socket', 'json'}"
    assert _run(f"import syncd_client; print(sorted({heavy} & set(sys.modules) - {{'typing'}}))") == "[]\n"


def test_beginning_a_run_loads_no_asyncio():
    assert _run("import syncd_client; syncd_client.init(); print('asyncio' in sys.modules)") == "False\n"


def test_importing_takes_under_60_ms():
    code = "import time; t = time.perf_counter(); import syncd_client; print(time.perf_counter() - t)"
    assert statistics.median(float(_run(code)) for _ in range(5)) < 0.06


def test_the_public_names():
    assert sorted(syncd_client.__all__) == [
        "Artifact", "ArtifactFinalizedError", "ArtifactManifestEntry", "ArtifactNotLoggedError", "ArtifactStatusError",
        "CommError", "Connection", "DaemonUnavailable", "Error", "Run", "UsageError", "WaitTimeoutError",
        "__version__", "aio", "errors", "finish", "init", "log_artifact", "run", "use_artifact",
    ]  # fmt: skip
    for name in syncd_client.__all__:
        getattr(syncd_client, name)
