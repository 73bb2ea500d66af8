"""The artifact of a script that waits in its own thread: W&B's names, argument order and defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from syncd_client import session
from syncd_client.entry import ArtifactManifestEntry
from syncd_client.newfile import NewFile
from syncd_client.record import ArtifactRecord, StrPath
from syncd_client.steps import drive


class Artifact(ArtifactRecord):
    """A named set of files: built here, logged with a run, found again as `name:version` or `name:alias`.

    Raises (all methods):
        ValueError: a name, path or value that breaks a rule; also why an upload or download failed.
        ArtifactFinalizedError: a change after it was logged; ArtifactNotLoggedError: asked for before.
        DaemonUnavailable: no daemon answers and none can be started.
    """

    def add_file(
        self,
        local_path: StrPath,
        name: StrPath | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a file. When this returns its bytes are pinned: the file may be changed, moved or deleted.

        Args:
            local_path: the file.
            name: its path in the artifact; by default its base name.
            policy: "mutable", or "immutable" for a file that the caller promises not to touch.
            overwrite: whether an entry of that name is replaced; otherwise other content there is a ValueError.
        """
        steps = self._add_file(local_path, name, is_tmp, skip_cache, policy, overwrite)
        return drive(session.connection(), steps)

    def add_dir(
        self,
        local_path: StrPath,
        name: StrPath | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add everything below a directory, under `name` if one is given.

        `merge` replaces entries whose content changed; otherwise they are a ValueError. Nothing is ever removed.
        """
        drive(session.connection(), self._add_dir(local_path, name, skip_cache, policy, merge))

    @contextmanager
    def new_file(
        self, name: str, mode: str = "x", encoding: str | None = None, policy: str = "mutable"
    ) -> Iterator[IO[Any]]:
        """Open a new file to be written; it is added when the block ends without an exception.

        Mode "x" refuses a name that was added before (ValueError), "w" replaces it; add "b" for bytes.
        """
        self._must_be_free(name, mode)
        with NewFile(session.connection().welcome.staging, mode, encoding) as fresh:
            yield fresh.file
            fresh.finish()
            self.add_file(os.fsdecode(fresh.path), name, policy=policy, overwrite="x" not in mode)

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return when it is committed; WaitTimeoutError after `timeout` seconds (the upload goes on)."""
        drive(session.connection(), self._wait(timeout))
        return self

    def download(
        self,
        root: StrPath | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: StrPath | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Fetch it, verified, and return the directory: `root`, or `$SYNCD_ARTIFACT_DIR or ./artifacts`/NAME:vN.

        Files already there that do not belong to it stay.
        """
        steps = self._download(root, allow_missing_references, skip_cache, path_prefix, multipart)
        return drive(session.connection(), steps)

    def verify(self, root: StrPath | None = None) -> None:
        """Compare a directory (by default where `download` puts it) with this version; a difference is a ValueError."""
        drive(session.connection(), self._verify(root))
