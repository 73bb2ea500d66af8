"""Bytes as they lie, for rooms that pass them on without a copy."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
