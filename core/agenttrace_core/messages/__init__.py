"""What was said: the input and output of a span, in whatever dialect, as OpenTelemetry's messages.

``content.span_content`` takes a span as OTLP/JSON and gives ``[{"role", "parts": [{"type", …}]}]``, on
read, one span at a time. What enters is hostile text of any size and depth: nothing here recurses
without a bound, nothing raises for what a sender wrote, and what cannot be understood is shown as it
came. Columns, storage and HTTP never enter.

The form is that of the schemas of the GenAI semantic conventions:
https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""
