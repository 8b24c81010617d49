"""If these fail, an odd value is lost, breaks the program that has it, or costs it all of its memory."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace.content import as_name, as_text, clean


class _Colour(Enum):
    RED = "red"


@dataclass
class _Point:
    x: int
    y: Any


class _Model:
    def model_dump(self) -> dict[str, int]:
        return {"a": 1}


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("never")


class _Nameless:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("never")

    __str__ = None  # type: ignore[assignment]


class _Table:
    shape = (1_000_000, 5)

    def __repr__(self) -> str:
        return "a table"

    def to_dict(self) -> dict[str, Any]:
        raise AssertionError("a table of any size as objects of Python")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (True, "true"),
        (2**70, "1180591620717411303424"),
        (_Table(), '"a table"'),
        (0.5, "0.5"),
        (float("nan"), '"nan"'),
        ({"a": [1, (2, 3)], 4: {5}}, '{"a":[1,[2,3]],"4":[5]}'),
        (b"raw", '"(3 bytes)"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        ([Decimal("1.10"), UUID(int=1), PurePosixPath("/a")], '["1.10","00000000-0000-0000-0000-000000000001","/a"]'),
        (_Colour.RED, '"red"'),
        (_Point(1, _Point(2, None)), '{"x":1,"y":{"x":2,"y":null}}'),
        (_Model(), '{"a":1}'),
        ([_Hostile()], '["(_Hostile: RuntimeError when it was read)"]'),
        ("lone \ud800 half", "lone \\ud800 half"),
        ({"k": "\udfff"}, '{"k":"\\udfff"}'),
    ],
)
def test_a_value_becomes_this_text(value: Any, text: str) -> None:
    assert as_text(value, 1_000) == text


def test_what_contains_itself_is_shown_once() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert as_text(ring, 100) == '[1,"(itself)"]'
    shared = [0]
    assert as_text([shared, shared], 100) == "[[0],[0]]"


def test_what_is_huge_is_cut_and_says_so() -> None:
    assert as_text("x" * 50, 10) == "x" * 10 + "… (40 characters more)"
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    assert as_text(deep, 10_000).count("[") < 100
    assert len(as_text(list(range(10_000_000)), 1_000)) < 1_100
    assert len(as_text({"a": ["y" * 1_000_000] * 50}, 1_000)) < 1_100


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30,
))  # fmt: skip
def test_json_values_survive(value: Any) -> None:
    text = as_text(value, 1_000_000)
    assert text == value if isinstance(value, str) else json.loads(text) == value


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_utf8(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean(text).encode() is not None


def test_numbers_of_any_length_and_classes_of_any_kind_have_a_form() -> None:
    assert as_text([1 << 20_000], 10_000) == f'["{hex(1 << 20_000)}"]'
    assert as_text([_Nameless()], 10_000) == '["(_Nameless: RuntimeError when it was read)"]'
    assert as_text(_Nameless(), 10_000) == '"(_Nameless: RuntimeError when it was read)"'


def test_no_more_of_long_texts_is_copied_than_is_kept() -> None:
    long = "x" * 1_000_000
    tracemalloc.start()
    try:
        text = as_text({"a": [long] * 1_000, "b": long}, 10_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) < 10_100
    assert most < 500_000


def test_anything_can_name_something() -> None:
    for value in (1 << 20_000, _Hostile(), _Nameless(), None, b"raw", "lone \ud800 half"):
        as_name(value).encode()
    assert len(as_name("x" * 10_000)) < 2_050
