from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.query.cursor import Cursors

_CURSORS = Cursors(b"k" * 32)


@given(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=40)))
def test_a_cursor_gives_back_its_place(place: tuple[int, str]) -> None:
    """Lost otherwise: the next page."""
    assert _CURSORS.open(_CURSORS.sign("p", "q", place), "p", "q") == list(place)


@pytest.mark.parametrize(("project", "question"), [("other", "q"), ("p", "other"), ("p\0q", "")])
def test_a_cursor_opens_for_its_project_and_question_alone(project: str, question: str) -> None:
    """Lost otherwise: the walls between projects, and between lists."""
    with pytest.raises(InvalidInputError):
        _CURSORS.open(_CURSORS.sign("p", "q", (1,)), project, question)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_a_forged_cursor_is_refused(forged: str) -> None:
    """Lost otherwise: a bound on what a caller can make this program believe."""
    with pytest.raises(InvalidInputError):
        _CURSORS.open(forged, "p", "q")


def test_a_cursor_of_another_key_is_refused() -> None:
    """Lost otherwise: the meaning of the key."""
    with pytest.raises(InvalidInputError):
        Cursors(b"x" * 32).open(_CURSORS.sign("p", "q", (1,)), "p", "q")
