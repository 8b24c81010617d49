"""The contract of the event bus: who listens hears what is said, once and in order, or that something was missed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio
import pytest

from agenttrace_contracts.base import Contract, Make, opened
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.ports.events import MAX_EVENT_BYTES, EventBus, Subscription

_PATIENCE_S = 20.0
_SILENCE_S = 0.3
_MANY = 5000


class EventsContract(Contract[EventBus]):
    """Every promise of ``EventBus``. Instances of one name hear each other, where that is declared."""

    async def test_a_subscriber_hears_what_is_published_from_then_on(self, adapter: EventBus) -> None:
        """A process that is not woken looks again only after seconds."""
        await adapter.publish("t", "before")
        async with adapter.subscribe("t") as heard:
            await adapter.publish("t", "after")
            assert await _events(heard, 1) == ["after"]
            assert list(await heard.wait(_SILENCE_S)) == []

    async def test_events_come_in_order_and_once(self, adapter: EventBus) -> None:
        """A later version of the catalog that is followed by an earlier one looks like a step back."""
        async with adapter.subscribe("t") as heard:
            for n in range(200):
                await adapter.publish("t", str(n))
            assert await _events(heard, 200) == [str(n) for n in range(200)]
            assert list(await heard.wait(_SILENCE_S)) == []

    async def test_what_came_meanwhile_is_not_lost(self, adapter: EventBus) -> None:
        """A subscriber works on one event while the next ones come."""
        async with adapter.subscribe("t") as heard:
            await adapter.publish("t", "1")
            assert await _events(heard, 1) == ["1"]
            await adapter.publish("t", "2")
            await adapter.publish("t", "3")
            await anyio.sleep(_SILENCE_S)
            assert await _events(heard, 2) == ["2", "3"]

    async def test_waiting_ends_with_its_time(self, adapter: EventBus) -> None:
        """Events are hints: who waits for one for ever never looks for himself."""
        async with adapter.subscribe("t") as heard:
            began = time.monotonic()
            assert list(await heard.wait(0.2)) == []
            assert 0.1 < time.monotonic() - began < 5
            assert list(await heard.wait(0)) == []

    async def test_waiting_ends_with_the_event(self, adapter: EventBus) -> None:
        """Slept through, an event is worth no more than a poll."""
        async with adapter.subscribe("t") as heard, anyio.create_task_group() as tasks:
            began = time.monotonic()

            async def publish_later() -> None:
                await anyio.sleep(0.1)
                await adapter.publish("t", "now")

            tasks.start_soon(publish_later)
            assert list(await heard.wait(_PATIENCE_S)) == ["now"]
            assert time.monotonic() - began < _PATIENCE_S / 2

    async def test_giving_up_waiting_loses_nothing(self, adapter: EventBus) -> None:
        """Who waits for an event or something else, whichever is first, cancels the other."""
        async with adapter.subscribe("t") as heard:
            for n in range(5):
                with anyio.move_on_after(0.02):
                    await heard.wait(_PATIENCE_S)
                await adapter.publish("t", str(n))
                assert await _events(heard, 1) == [str(n)]

    async def test_every_subscriber_hears(self, adapter: EventBus) -> None:
        """An event is told to all, not handed to one."""
        async with adapter.subscribe("t") as one, adapter.subscribe("t") as two:
            await adapter.publish("t", "x")
            assert await _events(one, 1) == ["x"]
            assert await _events(two, 1) == ["x"]

    async def test_who_has_left_takes_nobody_along(self, adapter: EventBus) -> None:
        """One page that is closed must not silence the others."""
        async with adapter.subscribe("t") as stays:
            async with adapter.subscribe("t"):
                pass
            await adapter.publish("t", "x")
            assert await _events(stays, 1) == ["x"]
        async with adapter.subscribe("t") as again:
            await adapter.publish("t", "y")
            assert await _events(again, 1) == ["y"]

    async def test_topics_are_apart(self, adapter: EventBus) -> None:
        """Woken for nothing, a process does its work for nothing."""
        names = ["t", "t_1", "t1", "0", "_", "x" * 40]
        async with adapter.subscribe("t") as heard:
            for name in names:
                await adapter.publish(name, name)
            assert await _events(heard, 1) == ["t"]
            assert list(await heard.wait(_SILENCE_S)) == []

    @pytest.mark.parametrize("topic", ["", "T", "a b", "a-b", "a.b", "é", "a*", "a\n", "a'", "x" * 41])
    async def test_what_is_no_topic_is_refused(self, adapter: EventBus, topic: str) -> None:
        """A name that one backend takes and another does not fails when the backend is changed."""
        with pytest.raises(InvalidInputError):
            await adapter.publish(topic, "x")
        with pytest.raises(InvalidInputError):
            async with adapter.subscribe(topic):
                pass

    async def test_any_text_is_an_event(self, adapter: EventBus) -> None:
        """What is not escaped right becomes part of a statement, or ends the text."""
        events = ["'", '"', "\\", "';--", "a\nb", "é\u20ac\U0001f600", "{}", " ", "0", "x" * MAX_EVENT_BYTES]
        async with adapter.subscribe("t") as heard:
            for event in events:
                await adapter.publish("t", event)
            assert await _events(heard, len(events)) == events

    @pytest.mark.parametrize("event", ["", "x" * (MAX_EVENT_BYTES + 1), "\u20ac" * (MAX_EVENT_BYTES // 3 + 1)])
    async def test_what_is_no_event_is_refused(self, adapter: EventBus, event: str) -> None:
        """An empty event means that some were missed; a long one, that it belongs elsewhere."""
        with pytest.raises(InvalidInputError):
            await adapter.publish("t", event)

    async def test_what_was_missed_is_told(self, adapter: EventBus) -> None:
        """A subscriber too slow for all of it may lose some, but must not think that it heard everything."""
        async with adapter.subscribe("t") as heard:
            for n in range(_MANY):
                await adapter.publish("t", str(n))
            events: list[str] = []
            while str(_MANY - 1) not in events:
                came = await heard.wait(_PATIENCE_S)
                assert came
                events += came
        numbers = [int(event) for event in events if event]
        assert numbers == sorted(set(numbers))
        assert "" in events or len(numbers) == _MANY

    async def test_instances_hear_what_is_declared_shared(self, make: Make[EventBus]) -> None:
        """What one process does is news to another."""
        async with opened(make("main")) as one, opened(make("main")) as two, two.subscribe("t") as heard:
            await one.publish("t", "x")
            if one.capabilities.shared:
                assert await _events(heard, 1) == ["x"]
            assert list(await heard.wait(_SILENCE_S)) == []

    async def test_stores_are_apart(self, make: Make[EventBus]) -> None:
        """Two deployments on one server must not wake each other."""
        async with opened(make("one")) as one, opened(make("two")) as two, two.subscribe("t") as heard:
            await one.publish("t", "x")
            assert list(await heard.wait(_SILENCE_S)) == []

    async def test_closing_is_idempotent(self, make: Make[EventBus]) -> None:
        """A part that could not start closes what it never opened."""
        adapter = make("main")
        await adapter.aclose()
        adapter = make("main")
        await adapter.open()
        await adapter.aclose()
        await adapter.aclose()


async def _events(heard: Subscription, count: int) -> Sequence[str]:
    """Wait until ``count`` events came; fewer where there is silence."""
    events: list[str] = []
    while len(events) < count and (came := await heard.wait(_PATIENCE_S)):
        events += came
    return events
