"""The guard of the contract suites: a promise cannot be left out by overriding its test."""

from __future__ import annotations

from typing import Any

import pytest

from agenttrace_contracts.base import Contract, supported
from agenttrace_core.errors import UnsupportedError


class _Suite(Contract[Any]):
    def test_promise(self) -> None:
        raise AssertionError("never run")


def _override(self: object) -> None:
    """What an author might put in a contract test's place."""


def test_an_override_without_a_reason_fails_when_the_class_is_made() -> None:
    """Without this an adapter could pass its contract by overriding what it breaks."""
    with pytest.raises(TypeError, match="test_promise"):

        class _Silent(_Suite):  # pyright: ignore[reportUnusedClass]
            def test_promise(self) -> None:
                pass


def test_a_deleted_test_fails_when_the_class_is_made() -> None:
    """Setting a contract test to None deletes it as surely as an override does."""
    with pytest.raises(TypeError, match="test_promise"):
        type("_Deleted", (_Suite,), {"test_promise": None})


def test_a_mixin_cannot_hide_a_contract_test() -> None:
    """An override that arrives by multiple inheritance weakens the contract all the same."""
    mixin = type("_Mixin", (), {"test_promise": _override})
    with pytest.raises(TypeError, match="test_promise"):
        type("_Mixed", (mixin, _Suite), {})


@pytest.mark.parametrize("options", [{}, {"reason": "slow"}, {"strict": True}, {"strict": False, "reason": "slow"}])
def test_an_xfail_must_be_strict_and_reasoned(options: dict[str, Any]) -> None:
    """A lax xfail would stay green when the adapter is mended, or would not say what is missing."""
    override = pytest.mark.xfail(**options)(_override)
    with pytest.raises(TypeError):
        type("_Lax", (_Suite,), {"test_promise": override})


def test_a_strict_reasoned_xfail_is_accepted() -> None:
    """The one honest way to say that a promise is not kept must stay open."""
    override = pytest.mark.xfail(strict=True, reason="the broker has no such call")(_override)
    type("_Honest", (_Suite,), {"test_promise": override})


def test_what_is_not_declared_must_be_refused() -> None:
    """A capability that works without being declared, or fails in its own way, misleads who asks for it."""

    def refuse() -> None:
        raise UnsupportedError("no SQL here")

    with supported(declared=False):
        refuse()
    with pytest.raises(pytest.fail.Exception), supported(declared=False):
        pass
