"""Ids as numbers."""

from __future__ import annotations

import pyarrow as pa

from agenttrace_core.schema.keys import words_of_hex


def test_a_slice_after_nulls_is_read_from_where_it_begins() -> None:
    """Lost: a trace whose rows stand in a file after those of roots answers 500, or names the wrong parents."""
    ids = pa.array([None, None, "00000000000000ff", "6f6f6f6f6f6f6f6f", None])
    assert words_of_hex(ids.slice(2, 2), 8).tolist() == [[0xFF], [0x6F6F6F6F6F6F6F6F]]
    assert words_of_hex(ids.slice(2, 0), 8).shape == (0, 1)
