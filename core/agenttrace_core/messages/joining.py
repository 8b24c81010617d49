"""Tool results find their calls: by id, and where there is none, by name and order."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from agenttrace_core.messages.media import Part
from agenttrace_core.messages.message import Message


def join_tools(messages: Iterable[Message]) -> None:
    """Give each ``tool_call_response`` the id and the name of its call, in place.

    A call without an id gets one that begins with ``#``, which no provider gives.
    """
    by_id: dict[str, Part] = {}
    waiting = _Waiting()
    for part in (part for message in messages for part in message["parts"]):
        if part["type"] == "tool_call":
            if not part.get("id"):
                part["id"] = waiting.add(part)
            by_id.setdefault(str(part["id"]), part)
        elif part["type"] == "tool_call_response":
            given, name = part.get("id"), part.get("name")
            call = by_id.get(str(given)) if given else waiting.take(name)
            if call is not None:
                part["id"] = call["id"]
                part.setdefault("name", call["name"])


class _Waiting:
    """Calls without an id that have no answer yet; each may be asked for by its name, or be the next of all."""

    def __init__(self) -> None:
        self._made = 0
        self._all: deque[Part] = deque()
        self._named: dict[str, deque[Part]] = defaultdict(deque)
        self._taken: set[str] = set()

    def add(self, call: Part) -> str:
        """Let a call wait; return an id for it."""
        self._made += 1
        self._all.append(call)
        self._named[str(call.get("name"))].append(call)
        return f"#{self._made}"

    def take(self, name: object) -> Part | None:
        """Return the first that waits, of that name if one is given."""
        calls = self._all if name is None else self._named[str(name)]
        while calls:
            call = calls.popleft()
            if call["id"] not in self._taken:
                self._taken.add(call["id"])
                return call
        return None
