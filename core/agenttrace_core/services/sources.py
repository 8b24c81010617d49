"""How services get at the contents of stored objects: in place where they are files, or have copies that are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from anyio import to_thread

from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import CopiedObjects, LocalObjects, ObjectStorage


async def open_source(storage: ObjectStorage, item: StoredObject) -> pa.NativeFile:
    """Return an object to read from. What is a file of this machine, or can be copied into one, is not mapped.

    What is mapped stays in the process's memory for as long as it is open, whether it is wanted again or not.
    """
    if isinstance(storage, LocalObjects):
        return pa.OSFile(str(storage.local_path(item.key)))
    if isinstance(storage, CopiedObjects):
        copy = await storage.copy(item)
        try:
            return pa.OSFile(str(copy.path))
        finally:
            copy.release()  # what is open stays readable
    return pa.BufferReader(await storage.get(item.key))


async def open_table(storage: ObjectStorage, item: StoredObject, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet object, or some of its columns, off the event loop."""
    source = await open_source(storage, item)
    return await to_thread.run_sync(lambda: pq.ParquetFile(source).read(columns=columns, use_threads=False))
