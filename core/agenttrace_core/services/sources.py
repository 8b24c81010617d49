"""How services get at the contents of stored objects: in place where they are files, else fetched whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from anyio import to_thread

from agenttrace_core.ports.storage import LocalObjects, ObjectStorage


async def open_source(storage: ObjectStorage, key: str) -> pa.NativeFile:
    """Return an object to read from. A large one that is a file of this machine is not mapped.

    What is mapped stays in the process's memory for as long as it is open, whether it is wanted again or not.
    """
    if isinstance(storage, LocalObjects):
        return pa.OSFile(str(storage.local_path(key)))
    return pa.BufferReader(await storage.get(key))


async def open_table(storage: ObjectStorage, key: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet object, or some of its columns, off the event loop."""
    source = await open_source(storage, key)
    return await to_thread.run_sync(lambda: pq.ParquetFile(source).read(columns=columns, use_threads=False))
