"""Adapters without a disk or a service, for tests, examples and small embeddings.

What lives here: plain Python over dictionaries and lists, the limiter, cache and event bus of one process among it.
What never does: anything that outlives the process.
"""

from agenttrace_adapters.memory.cache import MemoryCache
from agenttrace_adapters.memory.events import MemoryEvents
from agenttrace_adapters.memory.index import MemoryIndex
from agenttrace_adapters.memory.limiter import MemoryLimiter
from agenttrace_adapters.memory.live import MemoryLiveTable
from agenttrace_adapters.memory.queue import MemoryQueue
from agenttrace_adapters.memory.storage import MemoryStorage

__all__ = [
    "MemoryCache", "MemoryEvents", "MemoryIndex", "MemoryLimiter", "MemoryLiveTable", "MemoryQueue", "MemoryStorage",
]  # fmt: skip
