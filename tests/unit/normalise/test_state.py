"""Spans that are sent before they end. If these fail, a run is shown twice, or as over while it goes on."""

from __future__ import annotations

import pytest

from agenttrace_core.model.span import Quality
from tests.unit.normalise.spans import SPAN, rows_of

PARENT = b"p" * 8
PENDING = {"logfire.span_type": "pending_span", "logfire.pending_parent_id": "00000000000000AB"}


def test_a_span_marked_as_running_has_no_duration() -> None:
    row, other = rows_of([{"attributes": {"agenttrace.span.state": "running"}}, {"attributes": {}}]).to_pylist()
    assert (row["duration_ns"], Quality(row["quality"])) == (None, Quality.RUNNING)
    assert (other["duration_ns"], Quality(other["quality"])) == (5, Quality(0))


def test_a_pending_span_takes_the_place_of_the_span_that_it_stands_for() -> None:
    """Logfire sends it as a child of the span that runs; the span itself comes when it is over."""
    pending = {"attributes": PENDING, "parent_span_id": PARENT, "name": "agent run"}
    row = rows_of([pending]).to_pylist()[0]
    assert (row["span_id"], row["parent_span_id"]) == (PARENT.hex(), "00000000000000ab")
    assert Quality.RUNNING in Quality(row["quality"])
    assert row["duration_ns"] is None


@pytest.mark.parametrize("above", ["0" * 16, "", "no id", "00000000000000abcd"])
def test_a_pending_span_without_a_parent_of_its_own_stands_for_a_root(above: str) -> None:
    pending = {"attributes": PENDING | {"logfire.pending_parent_id": above}, "parent_span_id": PARENT}
    assert rows_of([pending]).to_pylist()[0]["parent_span_id"] is None


def test_a_pending_span_that_stands_for_none_keeps_its_id() -> None:
    row = rows_of([{"attributes": PENDING}]).to_pylist()[0]
    assert (row["span_id"], row["parent_span_id"]) == (SPAN.hex(), None)
