"""Scores, as they are given and as they are told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from agenttrace_server.query.models.common import Model, Partial

_NAME_LENGTH = 256


class GivenScore(Model):
    """A score as it is sent. It has a value or a label, and is of a trace or of a session."""

    name: str = Field(min_length=1, max_length=_NAME_LENGTH)
    value: float | bool | None = Field(default=None, description="A number; true is 1, false is 0.")
    label: str | None = Field(default=None, min_length=1, max_length=_NAME_LENGTH)
    trace_id: str | None = Field(default=None, description="32 hex digits. The trace need not have come yet.")
    span_id: str | None = Field(default=None, description="16 hex digits, where the score is of one span.")
    session_id: str | None = Field(default=None, min_length=1, max_length=_NAME_LENGTH)
    response_id: str | None = Field(default=None, min_length=1, max_length=_NAME_LENGTH)
    explanation: str | None = Field(default=None, min_length=1, max_length=65_536)
    source: str | None = Field(default=None, min_length=1, max_length=_NAME_LENGTH, description="Who judged.")
    id: str | None = Field(
        default=None, min_length=1, max_length=_NAME_LENGTH, description="Replaces what was sent with it before."
    )
    time: str | int | None = Field(default=None, description="RFC 3339, or nanoseconds since the epoch; else now.")


class Score(Model):
    """A score that counts. Times are nanoseconds since the epoch."""

    name: str
    value: float | None = Field(description="A number; true is 1, false is 0.")
    label: str | None
    trace_id: str | None
    span_id: str | None = Field(description="Null where the score is the trace's, or the session's.")
    session_id: str | None
    response_id: str | None
    explanation: str | None = Field(description="At most 4096 characters of it.")
    source: str | None = Field(description="Who judged.")
    id: str | None
    time_ns: int
    received_ns: int


class ScoreListing(Partial):
    """A page of scores, newest first."""

    items: list[Score]
    next_cursor: str | None


class ScoresSent(Model):
    """An acknowledgement: what was accepted is durable."""

    receipt: str
    accepted: int
    rejected: int
    reason: str = Field(description="Why some were rejected; empty if none were.")


class ScoreRow(BaseModel):
    """The scores of one group. Dimensions stand beside these fields, by the names that they were asked by."""

    model_config = ConfigDict(extra="allow")

    bucket: int | None = None
    scores: int
    mean: float | None
    min: float | None
    max: float | None


class ScoreFigures(Partial):
    """Figures of scores: a row a group, with ``bucket`` if it was asked for, and the dimensions by name."""

    rows: list[ScoreRow]
