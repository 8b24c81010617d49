"""What calls cost: tokens by part, times the rates of their model at the span's start.

``pricing`` fills the column; ``counts`` splits a span's tokens into parts that do not overlap; ``rates``
multiplies, exactly; ``tariffs`` knows which rates hold when, and for how large a request; ``book`` gets
them from the package ``genai-prices``, which is the only place that knows of it; ``own`` from the
operator; ``names`` reads the spellings of providers and models that telemetry has.

The package's data is imported when the first span with tokens comes, never at start. It is a table in the
process's memory: nothing in here reads a file or asks the network.
"""
