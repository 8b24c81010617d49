"""What all answers share: errors, money, and whether all that was acknowledged is in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Money = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{12}$", description="US dollars, a decimal with 12 places.")]


class Model(BaseModel):
    """An object of the API. It says all of its fields, and has no others."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Model):
    """``kind`` is stable across releases; ``message`` is for people, and may have several lines."""

    kind: str
    message: str
    problem: str | None = Field(default=None, description="Of invalid_query: what is wrong, in one line.")
    position: int | None = Field(default=None, description="Of invalid_query: where, in characters from 0.")
    fields: list[str] | None = Field(default=None, description="Of invalid_query: the fields that there are.")


class Error(Model):
    """The body of every answer that is no success."""

    error: ErrorDetail


class Partial(Model):
    """``partial`` says that something acknowledged was not readable yet; the others how much of the queue.

    That is ``lag_bytes``, or ``lag_records`` where the queue counts records. Both are null where it does not answer.
    ``damaged`` is there only where files cannot be read: the answer is without what they hold.
    """

    partial: bool = False
    lag_bytes: int | None = 0
    lag_records: int | None = None
    damaged: list[str] | None = None
