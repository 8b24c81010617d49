"""The local durable log: a span queue in one folder, with no service to install.

Here live the record format, the folder's layout, recovery, the appender and the reader. Only the
standard library and xxhash enter; nothing here knows what a body means.

::

    PATH/format.json        format version and queue id
    PATH/claim.lock         held for the moment in which partitions are repaired or claimed
    PATH/0/lock             held by the one process that appends to partition 0
    PATH/0/end              the durable end, mapped by the appender and by readers
    PATH/0/<offset>.log     records from that offset on; the newest file is allocated ahead
    PATH/0/damaged/         copies of damaged bytes that a reader had to skip
"""

from __future__ import annotations

from agenttrace_adapters.locallog.queue import LocalLogQueue

__all__ = ["LocalLogQueue"]
