"""The service's own log: one JSON object a line, on stderr, by structlog."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

_OURS = ("agenttrace_core", "agenttrace_adapters")
"""Packages that log by ``logging``, since they may be embedded in a program that does."""

# Without the variables of each frame: keys of callers and text of spans are among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def configure(level: str, process: str) -> None:
    """Write what is at least ``level`` as JSON lines; ``process`` is on each.

    Lines of the libraries that use ``logging`` come out in the same form: of ours from ``level`` up, of others' from
    warnings up.
    """

    def name_process(_: object, __: str, event: EventDict) -> EventDict:
        return {**event, "process": process}

    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
        _TRACEBACKS,
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_stdlib(shared, least)


def _adopt_stdlib(shared: list[Processor], least: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(least)
