"""Values reordered where they lie: if these fail, files hold the spans of others in their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.schema.views import Views

_CHUNKS = st.lists(st.lists(st.binary(max_size=40), max_size=6), max_size=4)


@settings(deadline=None)
@given(_CHUNKS, st.randoms(use_true_random=False))
def test_values_of_any_length_come_in_the_order_asked(chunks: list[list[bytes]], random: Any) -> None:
    """Lost otherwise: what was sent. Short values lie in the views themselves, long ones elsewhere."""
    # In the middle of longer arrays, as slices of tables are.
    arrays = [pa.array([b"before" * 5, *chunk, b"after" * 5], pa.binary()).slice(1, len(chunk)) for chunk in chunks]
    values = [value for chunk in chunks for value in chunk]
    order = random.sample(range(len(values)), len(values))
    column = Views.of(pa.chunked_array(arrays, pa.binary())).take(np.array(order, np.int64))
    assert column.to_pylist() == [values[i] for i in order]
    sink = pa.BufferOutputStream()
    schema = pa.schema([pa.field("span", pa.binary_view(), nullable=False)])
    with pq.ParquetWriter(sink, schema, store_schema=False) as writer:
        writer.write_table(pa.table([column], schema=schema))
    assert pq.read_table(pa.BufferReader(sink.getvalue()))["span"].to_pylist() == column.to_pylist()
