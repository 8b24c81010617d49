"""The doors: OTLP over HTTP and gRPC.

What lives here turns bytes of a socket into calls of ``agenttrace_core.services.ingest``, and
its answers into bytes: limits, encodings, status codes. What a span means never enters.
"""
