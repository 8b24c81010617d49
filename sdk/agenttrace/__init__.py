"""The AgentTrace SDK: what an application imports to send its spans.

Enters: OpenTelemetry and wrapt, so that a bare install stays small and loads quickly.
Never enters: the server, its drivers, Arrow or pydantic.

Applications that are instrumented with OpenTelemetry need nothing from here: an OTLP exporter
pointed at AgentTrace's port is enough.
"""
