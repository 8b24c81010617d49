"""Scratch files: where a large object grows before it is stored, so that it need not fit into memory."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pyarrow as pa

_SUFFIX = ".scratch"


class ScratchSink:
    """A sink (``agenttrace_core.schema.files.Sink``) in an unnamed file of ``folder``.

    The name goes as soon as the file is whole, or with ``clear_scratch`` if the process died before.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{uuid4().hex}{_SUFFIX}"
        self.stream = pa.OSFile(str(self._path), "wb")

    def finish(self) -> pa.Buffer:
        """Return all that was written, mapped: the kernel keeps as much of it in memory as it likes."""
        self.stream.close()
        mapped = pa.memory_map(str(self._path))
        self._path.unlink()
        return mapped.read_buffer()


def clear_scratch(folder: Path) -> None:
    """Make the folder, and remove what a killed process left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{_SUFFIX}"):
        path.unlink(missing_ok=True)
