"""Which rows a compiled predicate selects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from agenttrace_adapters.duckdb.fields import Parameters
from agenttrace_adapters.duckdb.predicates import condition, is_decided
from agenttrace_contracts.index_world import BASE_NS, light_row
from agenttrace_core.errors import InvalidInputError, UnsupportedError
from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    And,
    Attribute,
    Column,
    Compare,
    Contains,
    Not,
    Op,
    Or,
    Present,
    Score,
    SpanPredicate,
    Value,
)
from agenttrace_core.schema.tables import LIGHT

_BIG = 2**53
_ROWS = [
    light_row(name="chat gpt-4o", model="gpt-4o", duration_ns=2_000, cost_usd=Decimal("0.000000000001"),
              input_tokens=7, tags=["a%b", "beta"], status="error", status_message="Refund DECLINED",
              attributes=[("retries", "3"), ("note", "100% sure_"), ("big", str(_BIG + 1))]),
    light_row(name="tool\nsearch", tool="search", duration_ns=None, output_preview="Ärger mit A REFUND",
              attributes=[("retries", "3.0"), ("big", str(_BIG)), ("on", "true"), ("resource.host", "h1")]),
    light_row(name="agent", agent="mine", context_session_id="s1", quality=256,
              attributes=[("retries", "many"), ("long", None)], more_attributes=True),
    light_row(name="bare", attributes=None, service="svc", start_ns=None, received_ns=BASE_NS),
]  # fmt: skip


def rows_of(predicate: SpanPredicate, *, undecided: bool = False) -> list[int]:
    """Return the numbers of the rows that satisfy a predicate."""
    columns = {f.name: pa.array([row[f.name] for row in _ROWS], f.type) for f in LIGHT if f.name not in _COUNTED}
    columns |= {name: pa.array([0] * len(_ROWS), LIGHT.field(name).type) for name in _COUNTED}
    rows = pa.table(columns).append_column("n", pa.array(range(len(_ROWS))))
    with duckdb.connect() as connection:
        connection.register("spans", rows)
        parameters = Parameters()
        where = condition(predicate, parameters, undecided=undecided)
        found: list[tuple[Any, ...]] = connection.execute(
            f"SELECT n FROM spans WHERE {where} ORDER BY n",  # noqa: S608 - what is under test
            parameters.values,
        ).fetchall()
    return [n for (n,) in found]


_COUNTED = ("partition", "offset", "position")


@pytest.mark.parametrize(
    ("name", "op", "value", "expected"),
    [
        ("model", Op.EQ, "gpt-4o", [0]),
        ("model", Op.GT, "gpt", [0]),
        ("name", Op.GLOB, "chat*", [0]),
        ("name", Op.GLOB, "*4o", [0]),
        ("name", Op.GLOB, "c*o", [0]),
        ("name", Op.GLOB, "*gpt*", [0]),
        ("name", Op.GLOB, "t*l*h", [1]),
        ("name", Op.GLOB, "*", [0, 1, 2, 3]),
        ("name", Op.GLOB, "bare", [3]),
        ("name", Op.GLOB, "b*bare", []),
        ("name", Op.REGEX, "^(chat|tool)", [0, 1]),
        ("name", Op.EQ, "'; DROP TABLE spans; --", []),
        ("tag", Op.EQ, "beta", [0]),
        ("tag", Op.GLOB, "a%*", [0]),
        ("tag", Op.GLOB, "a_*", []),
        ("agent", Op.EQ, "mine", [2]),
        ("session", Op.EQ, "s1", [2]),
        ("state", Op.EQ, "running", [2]),
        ("quality", Op.EQ, "running", [2]),
        ("duration", Op.GT, 1_000, [0]),
        ("duration", Op.GT, Decimal("1999.5"), [0]),
        ("duration", Op.EQ, Decimal("1999.5"), []),
        ("duration", Op.LT, 10**40, [0, 2, 3]),
        ("duration", Op.GT, Decimal("-1e999999"), [0, 2, 3]),
        ("duration", Op.GT, Decimal("1e-999999"), [0, 2, 3]),
        ("duration", Op.LE, Decimal("-1e-999999"), []),
        ("cost", Op.EQ, Decimal("1e-12"), [0]),
        ("cost", Op.GT, Decimal("0.0000000000005"), [0]),
        ("cost", Op.LT, Decimal("1e30"), [0]),
        ("total_tokens", Op.GE, 7, [0]),
    ],
)
def test_a_canonical_field_compares_as_what_it_is(name: str, op: Op, value: Value, expected: list[int]) -> None:
    """Lost otherwise: an answer that is right, for a field whose values are numbers, texts or lists of them."""
    assert rows_of(Compare(Column(name), op, value)) == expected


@pytest.mark.parametrize(
    ("key", "op", "value", "expected"),
    [
        ("retries", Op.EQ, 3, [0, 1]),
        ("retries", Op.EQ, "3", [0]),
        ("retries", Op.GE, Decimal("2.5"), [0, 1]),
        ("retries", Op.LT, 10**400, [0, 1]),
        ("retries", Op.GLOB, "m*", [2]),
        ("big", Op.EQ, _BIG + 1, [0]),
        ("big", Op.GT, _BIG, [0]),
        ("on", Op.EQ, True, [1]),
        ("note", Op.GLOB, "100%*_", [0]),
        ("missing", Op.EQ, "3", []),
    ],
)
def test_an_attribute_is_a_number_where_it_reads_as_one(key: str, op: Op, value: Value, expected: list[int]) -> None:
    """Lost otherwise: numbers in attributes compared as texts, or rounded to doubles."""
    assert rows_of(Compare(Attribute(key), op, value)) == expected


def test_what_light_rows_cannot_decide_counts_as_asked() -> None:
    """Lost otherwise: spans whose payload would have said yes, or spans counted without asking it."""
    long = Compare(Attribute("long"), Op.EQ, "x")
    assert not is_decided(And((long,)))
    assert (rows_of(long), rows_of(long, undecided=True)) == ([], [2])
    assert (rows_of(Not(long)), rows_of(Not(long), undecided=True)) == ([0, 1, 3], [0, 1, 2, 3])
    assert (rows_of(Contains("mine", payload=True)), rows_of(Contains("bare", payload=True))) == ([], [3])
    assert rows_of(Contains("nowhere", payload=True), undecided=True) == [0, 1, 2, 3]
    assert rows_of(Compare(Attribute("retries"), Op.EQ, 4), undecided=True) == []


def test_not_is_two_valued_and_presence_is_of_the_key() -> None:
    """Lost otherwise: spans without a value, which satisfy the negation of each comparison."""
    assert rows_of(Not(Compare(Column("model"), Op.EQ, "gpt-4o"))) == [1, 2, 3]
    assert rows_of(Present(Column("model"))) == [0]
    assert rows_of(Present(Column("tag"))) == [0]
    assert rows_of(Present(Attribute("long"))) == [2]
    assert rows_of(Not(Present(Attribute("retries")))) == [3]
    assert rows_of(Present(Attribute("host", resource=True))) == [1]
    assert rows_of(EVERY_SPAN) == [0, 1, 2, 3]
    assert rows_of(Or(())) == []
    assert rows_of(And((Present(Column("tool")), Not(Or((Present(Column("model")),)))))) == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refund", [0, 1]),
        ("ärger", [1]),
        ("SURE_", [0]),
        ("100%", [0]),
        ("3100", []),
        ("h1", [1]),
        ("zzz", []),
        ("3", [0, 1]),
    ],
)
def test_free_text_is_found_whatever_its_case_and_within_one_value(text: str, expected: list[int]) -> None:
    """Lost otherwise: text found in two values that only happen to be neighbours, or not found at all."""
    assert rows_of(Contains(text)) == expected


@pytest.mark.parametrize(
    "predicate",
    [
        Compare(Column("nonsense"), Op.EQ, "x"),
        Compare(Column("name"), Op.REGEX, "("),
        Compare(Column("duration"), Op.EQ, "long"),
        Compare(Column("duration"), Op.GLOB, "1*"),
        Compare(Column("counted"), Op.EQ, "maybe"),
    ],
)
def test_what_cannot_be_compared_is_the_askers_mistake(predicate: SpanPredicate) -> None:
    """Lost otherwise: a server error, where the question is wrong."""
    with pytest.raises(InvalidInputError):
        rows_of(predicate)


def test_scores_are_not_supported() -> None:
    """Lost otherwise: an answer that leaves the scores out without saying so."""
    with pytest.raises(UnsupportedError):
        rows_of(Compare(Score("helpful"), Op.LT, Decimal("0.5")))
