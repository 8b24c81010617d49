"""What the documentation says of the query language is what the language is."""

from __future__ import annotations

import re

import pytest

from agenttrace_core.errors import QueryError
from agenttrace_core.query.caret import nearest
from agenttrace_core.query.fields import NAMES
from agenttrace_core.query.language import MAX_NESTING, MAX_TERMS, parse_spans, parse_traces
from agenttrace_core.query.patterns import MAX_PATTERN
from agenttrace_core.query.scanner import MAX_BYTES
from agenttrace_core.query.unparse import format_spans, format_traces
from tests.unit.docs.fields_table import HEAD, span_table, trace_table
from tests.unit.docs.pages import TREE

PAGE = (TREE / "docs" / "query-language.md").read_text(encoding="utf-8")
_TABLES = PAGE.split("\n\n")
_EXAMPLE = re.compile(r"^\| `(.+?)` \| ", re.MULTILINE)


def _examples(heading: str) -> list[str]:
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    # In a table, Markdown wants a bar escaped.
    return [example.replace("\\|", "|") for example in _EXAMPLE.findall(section)]


FOR_TRACES = [*_examples("Terms"), *_examples("Together"), *_examples("Related spans"), *_examples("Examples")]
FOR_SPANS = _examples("In questions about spans")


def test_the_tables_of_fields_are_the_registry() -> None:
    """A field that no page names is used by nobody."""
    there = [table.splitlines() for table in _TABLES if table.startswith(HEAD)]
    assert there == [span_table().splitlines(), trace_table().splitlines()]


@pytest.mark.parametrize("query", FOR_TRACES)
def test_an_example_is_a_query_for_traces(query: str) -> None:
    """An example that is refused teaches that the page can't be believed."""
    assert parse_traces(format_traces(parse_traces(query))) == parse_traces(query)


@pytest.mark.parametrize("query", FOR_SPANS)
def test_an_example_is_a_query_for_spans(query: str) -> None:
    """The same."""
    assert parse_spans(format_spans(*parse_spans(query))) == parse_spans(query)


def test_there_are_examples_of_everything() -> None:
    """Otherwise the tests above could pass over none."""
    assert len(FOR_TRACES) > 40
    assert len(FOR_SPANS) > 3


def test_the_bounds_are_those_in_force() -> None:
    """A bound that is stated wrongly is found out by an error."""
    stated = f"{MAX_BYTES:,} bytes, {MAX_TERMS} terms, brackets {MAX_NESTING} deep, and {MAX_PATTERN:,} characters"
    assert stated in " ".join(PAGE.split())


def test_the_error_that_is_shown_is_the_one_that_is_raised() -> None:
    """A reader compares it with what the terminal says."""
    with pytest.raises(QueryError) as caught:
        parse_traces("modle:gpt-4o* status:error")
    shown = PAGE.split("```text\n", 1)[1].split("\n```", 1)[0]
    assert shown.splitlines()[:3] == str(caught.value).splitlines()[:3]
    assert nearest("modle", NAMES) in shown
