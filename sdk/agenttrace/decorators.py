"""Functions with a span around each call: plain, async, and generators of both kinds.

A generator's span is current while its body runs and not while its caller does, and ends when the generator does:
exhausted, failed, or closed early.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from opentelemetry.context import attach, detach
from opentelemetry.trace import SpanKind, set_span_in_context

from agenttrace.spans import Span, record_error

if TYPE_CHECKING:
    from agenttrace.tracer import AgentTrace

P = ParamSpec("P")
R = TypeVar("R")

_MOST_ITEMS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Call:
    """What a decorator was told: how the spans of a function's calls look."""

    tracer: AgentTrace
    operation: str | None
    name: str | None
    kind: SpanKind = SpanKind.INTERNAL
    capture_input: bool = True
    capture_output: bool = True
    attributes: Mapping[str, Any] | None = field(default=None)


def traced(function: Callable[P, R], call: Call) -> Callable[P, R]:
    """Return ``function`` with a span around each call. Static and class methods stay what they are."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("Callable[P, R]", type(function)(traced(function.__func__, call)))
    wrap: Callable[[Any, _Calls], Any] = _of_function
    if inspect.isasyncgenfunction(function):
        wrap = _of_async_generator
    elif inspect.isgeneratorfunction(function):
        wrap = _of_generator
    elif inspect.iscoroutinefunction(function):
        wrap = _of_coroutine
    return cast("Callable[P, R]", functools.wraps(function)(wrap(function, _Calls(function, call))))


class _Calls:
    """Begins and ends the spans of one function's calls."""

    __slots__ = ("_call", "_name", "_parameters", "_skipped", "_tracer")

    def __init__(self, function: Callable[..., Any], call: Call) -> None:
        self._call = call
        self._tracer = call.tracer
        self._name = call.name or str(getattr(function, "__name__", type(function).__name__))
        try:
            names = tuple(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            names = ()
        self._skipped = 1 if names[:1] in {("self",), ("cls",)} else 0
        self._parameters = names

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span:
        call = self._call
        span = self._tracer.start(self._name, call.operation, call.attributes, call.kind)
        if call.capture_input:
            span.set_input(self._given(args, kwargs))
        return span

    def end(self, span: Span, result: Any) -> None:
        if self._call.capture_output and result is not None:
            span.set_output(result)
        span.otel.end()

    def fail(self, span: Span, error: BaseException) -> None:
        record_error(span.otel, error)
        span.otel.end()

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The argument itself where there is one, else all by name."""
        args = args[self._skipped :]
        if len(args) == 1 and not kwargs and self._call.operation != "execute_tool":
            return args[0]
        names = self._parameters[self._skipped :]
        given = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            given["args"] = args[len(names) :]
        return given | kwargs


def _of_function(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        span = calls.begin(args, kwargs)
        token = attach(set_span_in_context(span.otel))
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            detach(token)
            calls.fail(span, error)
            raise
        detach(token)
        calls.end(span, result)
        return result

    return called


def _of_coroutine(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    async def called(*args: Any, **kwargs: Any) -> Any:
        span = calls.begin(args, kwargs)
        token = attach(set_span_in_context(span.otel))
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            detach(token)
            calls.fail(span, error)
            raise
        detach(token)
        calls.end(span, result)
        return result

    return called


class _Items:
    """What a generator has given so far, as much of it as is kept."""

    __slots__ = ("_items", "_more")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._more = 0

    def add(self, item: Any) -> None:
        if len(self._items) < _MOST_ITEMS:
            self._items.append(item)
        else:
            self._more += 1

    def output(self) -> Any:
        if self._items and all(type(item) is str for item in self._items):
            return "".join(self._items) + (f"… ({self._more} more)" if self._more else "")
        return [*self._items, f"… ({self._more} more)"] if self._more else self._items


def _of_generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span, items = calls.begin(args, kwargs), _Items()
        context = set_span_in_context(span.otel)
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(next, generator)
        try:
            while True:
                token = attach(context)
                try:
                    item = step()
                finally:
                    detach(token)
                items.add(item)
                step = yield from _asked(generator, item)
        except StopIteration as stop:
            calls.end(span, items.output())
            return stop.value
        except GeneratorExit:
            token = attach(context)
            try:
                generator.close()
            finally:
                detach(token)
                calls.end(span, items.output())
            raise
        except BaseException as error:
            calls.fail(span, error)
            raise

    return called


def _asked(generator: Any, item: Any) -> Generator[Any, Any, Callable[[], Any]]:
    """Give an item to the caller, and return what the caller wants of the generator next."""
    try:
        sent = yield item
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - thrown in by the caller, and handed on to the generator
        return functools.partial(generator.throw, error)
    return functools.partial(generator.send, sent)


def _of_async_generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    async def called(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        span, items = calls.begin(args, kwargs), _Items()
        context = set_span_in_context(span.otel)
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = generator.__anext__
        try:
            while True:
                token = attach(context)
                try:
                    item = await step()
                finally:
                    detach(token)
                items.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the caller, and handed on
                    step = functools.partial(generator.athrow, error)
                else:
                    step = functools.partial(generator.asend, sent)
        except StopAsyncIteration:
            calls.end(span, items.output())
        except GeneratorExit:
            token = attach(context)
            try:
                await generator.aclose()
            finally:
                detach(token)
                calls.end(span, items.output())
            raise
        except BaseException as error:
            calls.fail(span, error)
            raise

    return called
