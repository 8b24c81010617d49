"""Which rows may hold a text: never fewer than those that do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_contracts.index_world import light_row, rows_of
from agenttrace_core.model.algebra import Contains
from agenttrace_core.query.evaluate import matches
from agenttrace_core.schema.grams import Grams, GramsBuilder
from agenttrace_core.schema.tables import LIGHT

# Kelvin's sign and the dotted I are letters of ASCII in lower case; the long s and the dotless i are not.
_LETTERS = "kKiIsB \u212a\u0130\u017f\u0131é\0@`_\U0001f600"
_texts = st.text(_LETTERS, max_size=12)
_rows = st.lists(
    st.builds(
        light_row,
        name=_texts,
        input_preview=st.none() | _texts,
        output_preview=st.none() | _texts,
        status_message=st.none() | _texts,
        attributes=st.none() | st.lists(st.tuples(st.sampled_from("ab"), st.none() | _texts), unique_by=lambda a: a[0]),
    ),
    min_size=1,
    max_size=9,
)


def _light(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return rows_of(rows).select(LIGHT.names)


def _grams(*pieces: pa.Table, bits: int = 16, block_rows: int = 2, least_rows: int = 1) -> Grams:
    builder = GramsBuilder(bits, block_rows, least_rows)
    for piece in pieces:
        builder.add(piece)
    table = builder.finish()
    assert table is not None
    return Grams(table)


def _named(grams: Grams, text: str) -> list[int]:
    return [row for first, last in grams.ranges(text) for row in range(first, last + 1)]


@st.composite
def _sought(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """Draw rows, and a text that is often in one of them, in another case."""
    rows = draw(_rows)
    told = [[*row.values(), *(value for _, value in row["attributes"] or [])] for row in rows]
    values = [value for of_row in told for value in of_row if isinstance(value, str)]
    text = draw(st.one_of(_texts, st.sampled_from(values)))
    text = text[draw(st.integers(0, 3)) :]
    return rows, draw(st.sampled_from([text, text.upper(), text.lower(), text.swapcase()]))


@settings(max_examples=100, deadline=None)
@given(_sought(), st.integers(0, 9))
def test_every_row_that_holds_a_text_may(sought: tuple[list[dict[str, Any]], str], cut: int) -> None:
    """Lost otherwise: spans that hold a text, and that no search finds."""
    rows, text = sought
    light = _light(rows)
    holding = matches(light, Contains(text))
    pieces = [piece for piece in (light.slice(0, cut), light.slice(cut)) if len(piece)]
    assert set(np.flatnonzero(holding).tolist()) <= set(_named(_grams(*pieces), text))


def test_blocks_without_a_text_are_left_out() -> None:
    """Lost otherwise: what they are there for."""
    rows = [light_row(name=f"number {n}", input_preview="a needle" if n == 5 else "hay") for n in range(9)]
    rows[8]["attributes"] = [("key", "NEEDLES")]
    grams = _grams(_light(rows[:5]), _light(rows[5:]), bits=18)
    assert grams.ranges("Needle") == [(5, 8)]
    assert grams.ranges("needles") == [(7, 8)]
    assert grams.ranges("haystack") == []
    assert grams.ranges("Nee") == grams.ranges("ünï") == [(0, 8)]


def test_blocks_end_where_pieces_do_and_few_rows_are_put_to_others() -> None:
    """Lost otherwise: blocks that cut the groups of rows that could be skipped, or that cost more than they save."""
    light = _light([light_row(name="x")] * 9)
    builder = GramsBuilder(12, 4, 2)
    builder.add(light)
    builder.add(light.slice(0, 6))
    table = builder.finish()
    assert table is not None
    assert table["end"].to_pylist() == [4, 9, 13, 15]
    few = GramsBuilder(12, 4, 10)
    few.add(light)
    assert few.finish() is None


@pytest.mark.parametrize(
    ("held", "sought"),
    [
        ("a \u212aiSS", "Kiss"),
        ("\u0130STANBUL", "istanbul"),
        ("kiss", "\u212aISS"),
        ("\u00c9cole NORMALE", "\u00e9COLE normale"),
        ("100%_sure\0", "100%_SURE\0"),
        ("four", "FOUR"),
        ("mis\u017fing", "MIS\u017fing"),
    ],
)
def test_letters_of_either_case_are_the_same(held: str, sought: str) -> None:
    """Lost otherwise: texts in which one letter is not quite that which was typed."""
    light = _light([light_row(input_preview="other"), light_row(attributes=[("a", "b"), ("key", held)])])
    assert matches(light, Contains(sought)).tolist() == [False, True]
    assert 1 in _named(_grams(light, block_rows=1), sought)


def test_letters_whose_lower_case_is_ascii_stand_for_it() -> None:
    """Lost otherwise: texts with a letter that a newer version of Unicode makes one of ASCII."""
    letters = [chr(code) for code in range(128, 0x2_0000) if not 0xD800 <= code < 0xE000]
    lowered = pc.utf8_lower(pa.array(letters)).to_pylist()
    odd = [letter for letter, lower in zip(letters, lowered, strict=True) if any(c.isascii() for c in lower)]
    assert odd == ["\u0130", "\u212a"]


@pytest.mark.parametrize("text", ["a" * 100_000, "\U0001f600" * 5_000 + "long enough"])
def test_a_long_text_is_sought_by_some_of_it(text: str) -> None:
    """Lost otherwise: a text of a hundred kilobytes takes time in every block."""
    light = _light([light_row(input_preview=text), light_row(input_preview="other")])
    assert _named(_grams(light, bits=18, block_rows=1), text) == [0]
