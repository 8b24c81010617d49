"""Attributes of spans as columns of their own: every value in its place, whatever the maps are like."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.schema.attribute_columns import (
    IN_PAYLOAD,
    AttributeColumnsWriter,
    AttributeKeys,
    column_of,
    common_keys,
    read_attribute_keys,
)

Attributes = list[tuple[str, str | None]] | None
_KEYS = st.sampled_from(["a", "b", "gen_ai.request.model", "", "ü\0"])
_MAPS = st.none() | st.lists(st.tuples(_KEYS, st.none() | st.text(max_size=3)), max_size=5)


def written(pieces: list[list[Attributes]], keys: list[str] | None = None) -> tuple[pa.Table, AttributeKeys]:
    """Write pieces of maps, and read back the columns and which keys there are."""
    sink = pa.BufferOutputStream()
    writer = AttributeColumnsWriter(sink, keys)
    for piece in pieces:
        # In the middle of a longer array, as a slice of a table is.
        array = pa.array([[("before", "x")], *piece, [("after", "x")]], pa.map_(pa.string(), pa.string()))
        writer.write(array.slice(1, len(piece)))
    writer.close()
    buffer = sink.getvalue()
    return pq.read_table(pa.BufferReader(buffer)), read_attribute_keys(pa.BufferReader(buffer))


def first_said(attributes: Attributes, key: str) -> str | None:
    """Return what a map says of a key, in the way of the columns."""
    for name, value in attributes or ():
        if name == key:
            return IN_PAYLOAD if value is None else value
    return None


@given(st.lists(st.lists(_MAPS, min_size=1, max_size=6), min_size=1, max_size=3))
def test_each_span_has_its_values_in_the_columns_of_their_keys(pieces: list[list[Attributes]]) -> None:
    """Lost otherwise: spans that are not found by an attribute that they have."""
    table, keys = written(pieces)
    spans = [attributes for piece in pieces for attributes in piece]
    assert len(table) == len(spans)
    said = {key for attributes in spans for key, _ in attributes or ()}
    assert keys.rest is not None
    assert said == {*keys.columns, *keys.rest}
    for key in keys.columns:
        assert table[column_of(key)].to_pylist() == [first_said(attributes, key) for attributes in spans]


def test_the_commonest_keys_of_the_files_that_are_merged_have_columns() -> None:
    """Lost otherwise: quick searches over files that were merged, by a key that their first spans do not have."""
    _, first = written([[[("a", "1"), ("b", "2")]]])
    _, second = written([[[("b", "2")]]])
    assert common_keys([first, second]) == ["b", "a"]
    _, merged = written([[[("c", "1")]], [[("a", "1")]]], common_keys([first, second]))
    assert (merged.columns, merged.rest) == (("b", "a"), ("c",))
    assert merged.may_have("c")
    assert not merged.may_have("d")


def test_more_keys_than_can_be_named_may_be_any() -> None:
    """Lost otherwise: spans of senders that make up a key a span, in a file that seems not to have them."""
    _, keys = written([[[(f"k{i}", "v")] for i in range(6_000)]])
    assert keys.rest is None
    assert keys.may_have("anything")
