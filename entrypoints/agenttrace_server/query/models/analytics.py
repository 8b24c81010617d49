"""Figures of groups of spans."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from agenttrace_server.query.models.common import Model, Money, Partial


class Row(Model):
    """A group of spans. It has the fields that were asked for, and the dimensions by the names that were given."""

    model_config = ConfigDict(extra="allow")

    period: Literal["current", "previous"] | None = Field(default=None, description="With compare=previous.")
    bucket: int | None = Field(default=None, description="The bucket's first nanosecond; with bucket=.")
    other: bool | None = Field(default=None, description="With top=: whether the row is all groups without their own.")
    spans: int | None = None
    traces: int | None = Field(default=None, description="Each counted once, in the bucket of its own start.")
    errors: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Money | None = None
    given_cost_usd: Money | None = None
    unpriced: int | None = None
    p50_ns: float | None = None
    p95_ns: float | None = None
    p99_ns: float | None = None
    mean_ns: float | None = None
    ttfc_p50_ns: float | None = None
    ttfc_p95_ns: float | None = None
    output_tokens_per_s: float | None = None
    first_ns: int | None = None
    last_ns: int | None = None


class Figures(Partial):
    """Rows by bucket, then the greatest groups first."""

    rows: list[Row]
