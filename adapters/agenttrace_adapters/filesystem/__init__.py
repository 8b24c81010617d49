"""Plain files: object storage in a folder, and the live table that processes of one machine share.

What lives here: files, folders, fsync and memory maps. What never does: knowledge of what the
bytes mean.
"""

from agenttrace_adapters.filesystem.live import FilesystemLiveTable
from agenttrace_adapters.filesystem.storage import FilesystemStorage

__all__ = ["FilesystemLiveTable", "FilesystemStorage"]
