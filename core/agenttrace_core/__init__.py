"""The core: what spans, traces, segments and queries are, and what is done with them.

Rooms, in the order in which a span walks through them:

- ``model``      values: ids, principal, receipt, segment, trace
- ``wire``       OTLP protobuf and JSON into columns, and back
- ``schema``     Arrow schemas of the files that are kept
- ``normalise``  rules as data, and the engine that applies them
- ``ports``      what an adapter must do: queue, storage, catalog, index, live table, limiter, cache, events
- ``query``      what can be asked
- ``services``   ingest, write, read, compact: what the entrypoints run, over ports alone

Nothing in here opens a file or a socket, or imports a driver. pyarrow and numpy are
welcome as value types.
"""

from agenttrace_core.version import __version__

__all__ = ["__version__"]
