"""What tests of instrumentation share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.sdk.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive what programs record."""
    with receiving() as receiver:
        yield receiver
