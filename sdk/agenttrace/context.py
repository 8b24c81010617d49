"""Session, user, tags and metadata: what every span below a point in the program carries.

They travel in OpenTelemetry's context, so through tasks and wherever it is copied; to other services, if asked, as
W3C baggage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry.context import Context, attach, create_key, detach, get_current, get_value, set_value

from agenttrace import semconv
from agenttrace.content import as_name, as_text
from agenttrace.spans import plain

_KEY: Final = create_key("agenttrace-propagated")
_METADATA_CHARS: Final = 4_096
_BAGGAGE_CHARS: Final = 256
_IN_BAGGAGE: Final = (semconv.SESSION_ID, semconv.USER_ID)


@dataclass(frozen=True, slots=True)
class Propagated:
    """What is in force; ``attributes`` are those that a span gets."""

    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def propagated(context: Context | None = None) -> Propagated | None:
    """Return what is in force in a context (by default the current one), None if nothing is."""
    found = get_value(_KEY, context)
    if isinstance(found, Propagated):
        return found
    carried = baggage.get_all(context)
    return _from_baggage(carried) if carried else None


class Scope:
    """A context manager within which spans carry more; nested ones add to the outer.

    Args:
        session: id of the session (conversation).
        user: id of the user.
        tags: added to those in force.
        metadata: values by name; ``agenttrace.metadata.NAME`` on spans. Short ones travel as text in baggage.
        propagate: also as W3C baggage.
    """

    __slots__ = ("_given", "_propagate", "_tokens")

    def __init__(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        propagate: bool = False,
    ) -> None:
        if isinstance(tags, str):
            tags = (tags,)
        self._given = (_text(session), _text(user), tuple(map(as_name, tags or ())), dict(metadata or {}))
        self._propagate = propagate
        self._tokens: list[Token[Context]] = []

    def __enter__(self) -> Scope:
        self._tokens.append(attach(self._entered(get_current())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        detach(self._tokens.pop())

    async def __aenter__(self) -> Scope:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, where)

    def _entered(self, context: Context) -> Context:
        session, user, tags, metadata = self._given
        outer = propagated(context) or Propagated()
        all_tags = tuple(dict.fromkeys((*outer.tags, *tags)))
        attributes = dict(outer.attributes)
        if session is not None:
            attributes |= {semconv.SESSION_ID: session, semconv.CONVERSATION_ID: session}
        if user is not None:
            attributes[semconv.USER_ID] = user
        if all_tags:
            attributes[semconv.TAGS] = all_tags
        attributes |= {semconv.METADATA + as_name(name): _plain(value) for name, value in metadata.items()}
        context = set_value(_KEY, Propagated(all_tags, attributes), context)
        if self._propagate:
            for key, value in attributes.items():
                if key in _IN_BAGGAGE or (key.startswith(semconv.METADATA) and _fits_baggage(key, value)):
                    context = baggage.set_baggage(key, value, context)
            if all_tags:
                context = baggage.set_baggage(semconv.TAGS, ",".join(all_tags), context)
        return context


def _from_baggage(carried: Mapping[str, object]) -> Propagated | None:
    attributes: dict[str, Any] = {
        key: str(value) for key, value in carried.items() if key in _IN_BAGGAGE or key.startswith(semconv.METADATA)
    }
    if semconv.SESSION_ID in attributes:
        attributes[semconv.CONVERSATION_ID] = attributes[semconv.SESSION_ID]
    tags = tuple(tag for tag in str(carried.get(semconv.TAGS, "")).split(",") if tag)
    if tags:
        attributes[semconv.TAGS] = tags
    return Propagated(tags, attributes) if attributes else None


def _fits_baggage(key: str, value: Any) -> bool:
    """Whether W3C baggage can hold it: its keys are tokens, and all of it together is to be short."""
    return (
        key.isascii() and key.replace("-", "_").replace(".", "_").isidentifier() and len(str(value)) <= _BAGGAGE_CHARS
    )


def _text(given: Any) -> str | None:
    return None if given is None else as_name(given)


def _plain(value: Any) -> Any:
    return as_text(value, _METADATA_CHARS) if isinstance(value, (list, tuple)) else plain(value, _METADATA_CHARS)
