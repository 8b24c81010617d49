"""Why a span's canonical values are what they are."""

from __future__ import annotations

from pydantic import Field

from agenttrace_server.query.models.common import Model

Value = str | int | bool | list[str]


class Reason(Model):
    """Why one field of a light row holds its value. Money is a decimal string."""

    field: str
    value: Value | None
    rule: str | None = Field(description="What gave it, such as model/gen_ai.response.model; null where nothing did.")
    attributes: list[str] = Field(description="The attributes, events or fields that it came from.")
    note: str | None = Field(description="What was done besides reading it.")
    stored: Value | None = Field(
        default=None, description="Only where it differs: what the stored row holds, made by other rules."
    )


class OneExplanation(Model):
    """The reasons for one span."""

    span_id: str
    name: str
    version: str = Field(description="Of the rules.")
    fields: list[Reason]


class Explanation(OneExplanation):
    """The reasons for a span, and for the others that share its id."""

    trace_id: str
    others: list[OneExplanation]
