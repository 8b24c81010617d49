"""How a query can go on."""

from __future__ import annotations

from pydantic import Field

from agenttrace_core.query.complete import SuggestionKind
from agenttrace_server.query.models.common import Model


class Suggestion(Model):
    """A text that the query can go on with."""

    text: str = Field(description="What replaces the characters from start to end.")
    kind: SuggestionKind
    doc: str = Field(description="A line about it, or nothing.")
    spans: int | None = Field(description="How many of the newest spans have it, where that is known.")


class Completion(Model):
    """Suggestions for the place of the cursor, the likeliest first."""

    start: int = Field(description="Of the text that a suggestion replaces: the place of its first character.")
    end: int = Field(description="The place after its last.")
    items: list[Suggestion]
