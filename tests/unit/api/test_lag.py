"""Every form of an answer says how much of the queue is not in it, in the unit that the queue counts in."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from agenttrace_core.services.trace_rows import behind
from agenttrace_core.services.view import Lag
from agenttrace_server.query.formats import Format, Rows, response

BYTES, RECORDS, UNKNOWN = Lag(True, 4096), Lag(True, None, 17), Lag(True, None)


@pytest.mark.parametrize(
    ("lag", "body", "headers"),
    [
        (BYTES, (4096, None), ("4096", None)),
        (RECORDS, (None, 17), (None, "17")),
        (UNKNOWN, (None, None), (None, None)),
    ],
)
def test_an_answer_says_its_lag(
    lag: Lag, body: tuple[int | None, int | None], headers: tuple[str | None, str | None]
) -> None:
    """Lost otherwise: on Kafka, whether an answer lacks one record or a million."""
    answer = response(Rows(pa.table({"spans": [1]}), "rows", lag, paged=False), Format.JSON)
    told = json.loads(bytes(answer.body))
    assert (told["partial"], told["lag_bytes"], told["lag_records"]) == (True, *body)
    assert (answer.headers.get("agenttrace-lag-bytes"), answer.headers.get("agenttrace-lag-records")) == headers


def test_what_is_not_found_says_the_lag() -> None:
    """Lost otherwise: the hint that a trace which is not there yet may come soon, or in an hour."""
    assert "(4,096 bytes)" in behind(BYTES)
    assert "(17 records)" in behind(RECORDS)
    assert "yet: ask again" in behind(UNKNOWN)
    assert behind(Lag()) == ""
