"""What lists show, as tables: a row a trace, or a light row a span."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow as pa

from agenttrace_core.model.algebra import Measure
from agenttrace_core.model.span import Quality
from agenttrace_core.query.known_costs import known_costs
from agenttrace_core.services.entities import LISTED, EntityList
from agenttrace_core.services.error_groups import ErrorGroupList
from agenttrace_core.services.read import TraceList
from agenttrace_core.services.trace_views import TREE_FIELDS

LIGHT_FIELDS = (
    "span_id", "parent_span_id", "name", "kind", "service", "scope", "start_ns", "duration_ns", "status",
    "status_message", "operation", "provider", "model", "agent", "tool", "session_id", "user_id", "input_tokens",
    "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "input_audio_tokens",
    "output_audio_tokens", "cost_usd", "given_cost_usd", "counted", "time_to_first_chunk_ns", "input_preview",
    "output_preview", "error_type", "error_group", "environment", "version", "prompt", "prompt_version", "tags",
)  # fmt: skip
"""What a light row shows, of the columns of the same name."""


TRACE_FIELDS = pa.schema(
    [
        ("trace_id", pa.string()), ("name", pa.string()), ("service", pa.string()), ("start_ns", pa.int64()),
        ("end_ns", pa.int64()), ("duration_ns", pa.int64()), ("spans", pa.int64()), ("errors", pa.int64()),
        ("input_tokens", pa.int64()), ("output_tokens", pa.int64()), ("cost_usd", pa.decimal128(38, 12)),
        ("unpriced", pa.int64()), ("running", pa.int64()), ("received_ns", pa.int64()), ("has_root", pa.bool_()),
        ("status", pa.string()), ("state", pa.string()), ("session_id", pa.string()), ("user_id", pa.string()),
    ]
)  # fmt: skip
"""What a list of traces shows of each."""


def light_table(spans: pa.Table) -> pa.Table:
    """Return what is shown of light rows: ``LIGHT_FIELDS``, what is odd, and ``TREE_FIELDS`` or ``trace_id``."""
    odd = pa.array([quality(bits) for bits in spans["quality"].to_pylist()], pa.list_(pa.string()))
    table = spans.select(LIGHT_FIELDS).append_column("quality", odd)
    for name in TREE_FIELDS if "orphan" in spans.column_names else ("trace_id",):
        table = table.append_column(name, spans[name])
    return table


def trace_table(page: TraceList) -> pa.Table:
    """Return a page of the list of traces, a row a trace."""
    columns: dict[str, list[Any]] = {name: [getattr(item, name) for item in page.items] for name in _SAID}
    columns["cost_usd"] = [item.cost_usd for item in page.items]
    columns["state"] = [item.state(page.as_of).value for item in page.items]
    return pa.table([pa.array(columns[field.name], field.type) for field in TRACE_FIELDS], schema=TRACE_FIELDS)


_SAID = [name for name in TRACE_FIELDS.names if name not in {"cost_usd", "state"}]


@lru_cache(maxsize=1024)
def quality(bits: int) -> list[str]:
    """What is odd about a span, in words."""
    return [flag.name.lower() for flag in Quality(bits) if flag.name]


_MONEY = pa.decimal128(38, 12)
_FLOATS = frozenset(
    {
        Measure.P50_NS, Measure.P95_NS, Measure.P99_NS, Measure.MEAN_NS, Measure.TTFC_P50_NS, Measure.TTFC_P95_NS,
        Measure.OUTPUT_TOKENS_PER_S,
    }
)  # fmt: skip


def entity_table(found: EntityList) -> pa.Table:
    """Return a page of a list of things, a row each: ``id`` and its figures."""
    columns = [("id", pa.string()), *((each.value, _type_of(each)) for each in LISTED[found.kind])]
    rows = [[item.id, *item.figures.values()] for item in found.items]
    return known_costs(_table(pa.schema(columns), rows))


SCORE_FIELDS = (
    "name", "value", "label", "trace_id", "span_id", "session_id", "response_id", "explanation", "source", "id",
    "time_ns", "received_ns",
)  # fmt: skip
"""What is shown of scores, of the columns of ``SCORES`` by the same name."""


def score_table(scores: pa.Table) -> pa.Table:
    """Return what is shown of scores, a row each."""
    return scores.select(SCORE_FIELDS)


def error_table(found: ErrorGroupList) -> pa.Table:
    """Return a page of kinds of errors, a row each."""
    return _table(ERROR_FIELDS, [[getattr(item, name) for name in ERROR_FIELDS.names] for item in found.items])


ERROR_FIELDS = pa.schema(
    [
        ("type", pa.string()), ("message", pa.string()), ("name", pa.string()), ("count", pa.int64()),
        ("traces", pa.int64()), ("users", pa.int64()), ("sessions", pa.int64()), ("first_ns", pa.int64()),
        ("last_ns", pa.int64()), ("trace_id", pa.string()), ("span_id", pa.string()),
    ]
)  # fmt: skip
"""What a list of kinds of errors shows of each."""


def _type_of(measure: Measure) -> pa.DataType:
    if measure.value.endswith("_usd"):
        return _MONEY
    return pa.float64() if measure in _FLOATS else pa.int64()


def _table(schema: pa.Schema, rows: list[list[Any]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
