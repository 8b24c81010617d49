"""What the API is made of, and how each request finds its caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.read import ReadService


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the API is made of.

    ``parts`` says of each part of the server whether it serves, for ``/readyz``; ``figures`` adds
    to ``/metrics`` what other processes count; ``stopping`` ends what is streamed without end.
    """

    read: ReadService
    ingest: IngestService
    letters: LetterService
    parts: Callable[[], Awaitable[Mapping[str, bool]]]
    figures: Callable[[], bytes] = lambda: b""
    stopping: Callable[[], bool] = lambda: False
