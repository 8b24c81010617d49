"""Everything that runs: the command line, the doors, the API, the writer and the compactor.

Rooms: ``cli`` (the command ``agenttrace``), ``ingestion`` (OTLP over HTTP and gRPC), ``query`` (the
API); beside them the settings, the supervisor, and ``composition``, the one place where adapters
and services meet. What a span is and what becomes of it is the core's; here is only how it is run.
"""
