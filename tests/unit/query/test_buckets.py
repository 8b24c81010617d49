from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Bucket
from agenttrace_core.query.buckets import DAY_NS, MAX_BUCKETS, bucket_edges, floor_to, uniform_ns

_HOUR = 3_600_000_000_000
_ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia"]


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def local(edges: np.ndarray, zone: str) -> list[str]:
    return [datetime.fromtimestamp(int(e) / 1e9, ZoneInfo(zone)).isoformat() for e in edges]


@given(
    st.integers(ns("1980-01-01T00:00:00Z"), ns("2100-01-01T00:00:00Z")),
    st.integers(0, 40 * DAY_NS),
    st.sampled_from(_ZONES),
    st.one_of(
        st.sampled_from([{"unit": u} for u in ("hour", "day", "week", "month")]),
        st.sampled_from([{"ns": n} for n in (900_000_000_000, 7 * _HOUR, _HOUR, DAY_NS, 3 * DAY_NS)]),
    ),
)
def test_every_time_lies_in_one_bucket_and_none_is_empty_at_the_ends(
    first: int, length: int, zone: str, kind: dict[str, int]
) -> None:
    """Lost otherwise: rows at the edges of a chart, in zones that hardly anybody tests."""
    edges = bucket_edges(Bucket(timezone=zone, **kind), first, first + length)
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= first < edges[1]
    assert edges[-2] <= first + length < edges[-1]
    if kind != {"unit": "hour"} and kind.get("ns", DAY_NS) >= DAY_NS:
        days = [datetime.fromtimestamp(int(e) / 1e9, ZoneInfo(zone)) for e in edges]
        before = [day - timedelta(seconds=1) for day in days]
        assert all(
            b.astimezone(UTC).astimezone(ZoneInfo(zone)).date() <= d.date() for b, d in zip(before, days, strict=True)
        )


def test_days_are_as_long_as_the_clock_makes_them() -> None:
    """Lost otherwise: an hour of two days a year, counted in the day beside."""
    edges = bucket_edges(
        Bucket(unit="day", timezone="Europe/Berlin"), ns("2026-03-28T12:00:00Z"), ns("2026-03-30T12:00:00Z")
    )
    assert (np.diff(edges) // _HOUR).tolist() == [24, 23, 24]
    assert local(edges, "Europe/Berlin")[0] == "2026-03-28T00:00:00+01:00"
    hours = bucket_edges(Bucket(unit="hour", timezone="Europe/Berlin"), int(edges[1]), int(edges[2]) - 1)
    assert len(hours) - 1 == 23
    assert uniform_ns(hours) == _HOUR
    assert uniform_ns(edges) is None


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    """Lost otherwise: agreement with every other calendar."""
    weeks = bucket_edges(Bucket(unit="week"), ns("2026-11-26T00:00:00Z"), ns("2026-11-26T00:00:00Z"))
    assert local(weeks, "UTC") == ["2026-11-23T00:00:00+00:00", "2026-11-30T00:00:00+00:00"]
    months = bucket_edges(Bucket(unit="month"), ns("2026-01-31T00:00:00Z"), ns("2026-03-01T00:00:00Z"))
    assert [e[:10] for e in local(months, "UTC")] == ["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"]


def test_lengths_that_do_not_divide_a_day_begin_anew_at_midnight() -> None:
    """Lost otherwise: buckets of seven hours that begin at another hour each day."""
    edges = bucket_edges(Bucket(ns=7 * _HOUR), ns("2026-01-01T00:00:00Z"), ns("2026-01-02T00:00:00Z"))
    assert [e[11:13] for e in local(edges, "UTC")] == ["00", "07", "14", "21", "00", "07"]


def test_times_find_their_edge() -> None:
    """Lost otherwise: the bucket of a time that is itself an edge."""
    edges = np.array([0, 10, 20], np.int64)
    assert floor_to(np.array([0, 9, 10, 19], np.int64), edges).tolist() == [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("bucket", "message"),
    [
        (Bucket(), "one of the two"),
        (Bucket(ns=1, unit="day"), "one of the two"),
        (Bucket(unit="fortnight"), "no unit"),
        (Bucket(ns=0), "greater than zero"),
        (Bucket(ns=DAY_NS + 1), "whole days"),
        (Bucket(unit="day", timezone="../../etc/passwd"), "timezone"),
        (Bucket(unit="day", timezone="Mars/Olympus"), "timezone"),
        (Bucket(unit="day", timezone=""), "timezone"),
        (Bucket(unit="day", timezone="U\0TC"), "timezone"),
        (Bucket(ns=1), f"{MAX_BUCKETS:,}"),
    ],
)
def test_a_bucket_that_is_none_is_refused_with_its_reason(bucket: Bucket, message: str) -> None:
    """Lost otherwise: a 500, or minutes of counting, for a typing error."""
    with pytest.raises(InvalidInputError, match=message):
        bucket_edges(bucket, 0, DAY_NS)


def test_times_that_no_calendar_has_are_refused() -> None:
    """Lost otherwise: a 500 for a number that somebody mistyped."""
    with pytest.raises(InvalidInputError):
        bucket_edges(Bucket(unit="month"), -(1 << 63), (1 << 63) - 1)
