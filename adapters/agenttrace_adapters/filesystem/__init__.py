"""Plain files: object storage in a folder, copies of objects that are elsewhere, and the shared live table.

What lives here: files, folders, fsync and memory maps. What never does: knowledge of what the
bytes mean.
"""

from agenttrace_adapters.filesystem.copied import CopiedStorage
from agenttrace_adapters.filesystem.live import FilesystemLiveTable
from agenttrace_adapters.filesystem.storage import FilesystemStorage

__all__ = ["CopiedStorage", "FilesystemLiveTable", "FilesystemStorage"]
