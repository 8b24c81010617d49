"""JSON text, of any depth and with what standard readers refuse."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=25,
)


def _deep(value: Any, levels: int) -> bytes:
    return b'[{"a":' * levels + json.dumps(value).encode() + b"}]" * levels


def _unwrapped(value: Any, levels: int) -> Any:
    for _ in range(levels):
        (value,) = value
        assert list(value) == ["a"]
        value = value["a"]
    return value


@given(_values, st.sampled_from([0, 600]))
@settings(deadline=None, max_examples=50)
def test_what_is_deep_is_read_and_written_like_what_is_shallow(value: Any, levels: int) -> None:
    """Lost: values of deeply nested attributes, to a reader that is used once in a year."""
    read = json_text.loads(_deep(value, levels))
    assert _unwrapped(read, levels) == value
    for write in (json_text.dumps, json_text.dumps_exactly):
        assert _unwrapped(json_text.loads(write(json_text.loads(_deep(value, levels)))), levels) == value


@given(st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE00F)))
def test_lone_surrogates_survive(text: str) -> None:
    """Lost: text of senders that cut UTF-16 in the middle of a character."""
    joined = json.loads(json.dumps(text))  # two halves that meet are one character
    assert json_text.loads(json_text.dumps([text])) == [joined]
    assert json_text.loads(json_text.dumps_exactly({text: text})) == {joined: joined}


@pytest.mark.parametrize(
    "text", ["[1,]", "[1 2]", '{"a" 1}', '{"a":}', "{1:2}", '"\x01"', "[1]]", '"\\q"', "[}", "-", "tru"]
)
def test_what_is_no_json_is_refused_at_any_depth(text: str) -> None:
    """Lost: the difference between a body and a torn body."""
    for levels in (0, 2000):
        body = b"[" * levels + text.encode() + b"]" * levels
        with pytest.raises(InvalidInputError, match="not JSON"):
            json_text.loads(body)


@given(st.binary(max_size=12), st.integers(0, 3999))
@settings(deadline=None, max_examples=60)
def test_a_deep_body_with_garbage_in_it_is_read_or_refused(garbage: bytes, at: int) -> None:
    """Lost: the door, to an exception of the reader without recursion."""
    body = b"[" * 2000 + b"]" * 2000
    with contextlib.suppress(InvalidInputError):
        assert isinstance(json_text.loads(body[:at] + garbage + body[at:]), list)


def test_a_byte_order_mark_is_passed_over() -> None:
    """Lost: files written on Windows."""
    assert json_text.loads(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_many_values_in_a_deep_body_are_bounded() -> None:
    """Lost: seconds of the door, to a body that only the slow reader can read."""
    with pytest.raises(InvalidInputError, match="send less at once"):
        json_text.loads(b"[" * 2000 + b"[" + b"0," * (json_text.MAX_DEEP_VALUES + 1) + b"0]" + b"]" * 2000)
