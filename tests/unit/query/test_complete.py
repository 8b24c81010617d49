"""What a query that is being written can go on with.

If these failed, the dashboard and shells would suggest what the language refuses, or nothing.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.errors import QueryError
from agenttrace_core.model.algebra import Attribute, Column, Score, TraceField
from agenttrace_core.query.complete import Place, Wanted, place_at, suggestions_at, value_suggestion
from agenttrace_core.query.language import parse_traces
from agenttrace_core.query.scanner import Style


def _value(start: int, prefix: str, field: object, style: Style = Style.BARE) -> Place:
    return Place(Wanted.VALUE, start, prefix, field, style)  # type: ignore[arg-type]


PLACES = {
    "": Place(Wanted.TERM, 0),
    "mod": Place(Wanted.TERM, 0, "mod"),
    "model:x ": Place(Wanted.TERM, 8),
    "model:x -to": Place(Wanted.TERM, 9, "to"),
    "(model:x OR to": Place(Wanted.TERM, 12, "to"),
    "{tool:x} >> {sta": Place(Wanted.TERM, 13, "sta"),
    "{tool:x} > {} same to": Place(Wanted.FIELD, 19, "to"),
    "{tool:x} > {} same tool,mo": Place(Wanted.FIELD, 24, "mo"),
    "model:": _value(6, "", Column("model")),
    "model:gp": _value(6, "gp", Column("model")),
    'model:"gp': _value(6, "gp", Column("model"), Style.QUOTED),
    "model!=gp": _value(7, "gp", Column("model")),
    "user = u": _value(7, "u", Column("user_id")),
    "model:(a OR b": _value(12, "b", Column("model")),
    "model:(": _value(7, "", Column("model")),
    "status:e": _value(7, "e", Column("status")),
    "http.route:a": _value(11, "a", Attribute("http.route")),
    'attr."my key":a': _value(14, "a", Attribute("my key")),
    '"my key":a': _value(9, "a", Attribute("my key")),
    "score.good<0": _value(11, "0", Score("good")),
    "trace.state:r": _value(12, "r", TraceField.STATE),
    "has:mo": Place(Wanted.FIELD, 4, "mo"),
    "payload:mo": Place(Wanted.NOTHING, 8, "mo"),
    '"mod': Place(Wanted.NOTHING, 0),
    "modle:x": Place(Wanted.NOTHING, 6, "x"),
    "name:/a": Place(Wanted.NOTHING, 5, "a", Column("name"), Style.REGEX),
    "duration>": _value(9, "", Column("duration")),
}


@pytest.mark.parametrize("text", PLACES)
def test_what_is_being_written_is_known(text: str) -> None:
    assert place_at(text, len(text)) == PLACES[text]


def test_only_what_stands_before_the_cursor_counts() -> None:
    assert place_at("mod status:error", 3) == Place(Wanted.TERM, 0, "mod")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mod", ["model:"]),
        ("du", ["duration>"]),
        ("duration", ["duration>", "duration>=", "duration<", "duration<=", "duration:", "duration!="]),
        ("model", ["model:", "model!=", "model:*"]),
        ("trace.st", ["trace.status:", "trace.state:"]),
        ("has:mod", ["model"]),
        ("status:", ["unset", "ok", "error"]),
        ("counted:t", ["true"]),
        ("trace.state:b", ["broken"]),
        ("O", ["OR"]),
        ("sco", ["scope:", "score."]),
        ("pay", ["payload:"]),
        ("cost>", []),
    ],
)
def test_what_the_language_knows_is_suggested(text: str, wanted: list[str]) -> None:
    assert [s.text for s in suggestions_at(place_at(text, len(text)))] == wanted


@given(st.text(min_size=1, max_size=20), st.sampled_from([Style.BARE, Style.QUOTED]))
def test_a_suggested_value_is_one_that_the_language_takes(value: str, style: Style) -> None:
    suggested = value_suggestion(value, style).text
    try:
        assert parse_traces(f"name:{suggested}") == parse_traces(f"name:{value_suggestion(value, Style.QUOTED).text}")
    except QueryError:
        assert "\0" in value or any(0xD800 <= ord(c) < 0xE000 for c in value)


_PIECES = [*'model:">(){}-~ "/OR same,.*', "tool:", "{a} > {b} same "]


@given(st.text(max_size=40) | st.lists(st.sampled_from(_PIECES)).map("".join))
def test_any_text_has_a_place(text: str) -> None:
    try:
        place = place_at(text, len(text))
    except QueryError:
        return
    assert 0 <= place.start <= len(text)
    suggestions_at(place)
