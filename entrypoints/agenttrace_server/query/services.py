"""What the API is made of, and how each request finds its caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agenttrace_core.services.analytics import AnalyticsService
from agenttrace_core.services.arrivals import ArrivalService
from agenttrace_core.services.ask import AskService
from agenttrace_core.services.complete import CompletionService
from agenttrace_core.services.entities import EntityService
from agenttrace_core.services.error_groups import ErrorGroupService
from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.read import ReadService
from agenttrace_core.services.score_figures import ScoreFiguresService
from agenttrace_core.services.scores import ScoreService
from agenttrace_server.query.patience import Patience


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the API is made of.

    ``patience`` bounds what questions take. ``parts`` says of each part of the server whether it
    serves, for ``/readyz``; ``figures`` adds to ``/metrics`` what other processes count; ``stopping``
    ends what is streamed without end.
    """

    read: ReadService
    ask: AskService
    analytics: AnalyticsService
    entities: EntityService
    error_groups: ErrorGroupService
    scores: ScoreService
    score_figures: ScoreFiguresService
    complete: CompletionService
    arrivals: ArrivalService
    patience: Patience
    ingest: IngestService
    letters: LetterService
    parts: Callable[[], Awaitable[Mapping[str, bool]]]
    figures: Callable[[], bytes] = lambda: b""
    stopping: Callable[[], bool] = lambda: False
