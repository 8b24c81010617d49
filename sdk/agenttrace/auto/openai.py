"""OpenAI's client: chat completions, completions, responses and embeddings, in every way they can be called.

The client's methods are wrapped where their classes define them, so that raw, streamed and parsed calls all pass
here. Of an answer that is read by the program (a stream, a raw body), the bytes are looked at while it reads them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from importlib import import_module
from inspect import isasyncgen, isgenerator
from typing import TYPE_CHECKING, Any, Final

import wrapt
from opentelemetry.trace import SpanKind

from agenttrace import semconv
from agenttrace.auto import openai_messages as messages
from agenttrace.auto.inference import covering, stands_back
from agenttrace.content import as_text
from agenttrace.quiet import never_raises
from agenttrace.spans import Span, record_error
from agenttrace.tracer import AgentTrace

if TYPE_CHECKING:
    from agenttrace.auto.http_tee import Heard

_CHAT: Final = "openai.resources.chat.completions"
_METHODS: Final = (
    (_CHAT, "Completions", ("create", "parse"), "chat"),
    (_CHAT, "AsyncCompletions", ("create", "parse"), "chat"),
    ("openai.resources.beta.chat.completions", "Completions", ("parse",), "chat"),
    ("openai.resources.beta.chat.completions", "AsyncCompletions", ("parse",), "chat"),
    ("openai.resources.completions", "Completions", ("create",), "text_completion"),
    ("openai.resources.completions", "AsyncCompletions", ("create",), "text_completion"),
    ("openai.resources.responses", "Responses", ("create", "parse"), "chat"),
    ("openai.resources.responses", "AsyncResponses", ("create", "parse"), "chat"),
    ("openai.resources.embeddings", "Embeddings", ("create",), "embeddings"),
    ("openai.resources.embeddings", "AsyncEmbeddings", ("create",), "embeddings"),
    # Before release 1, whose answers are dictionaries, and whose streams are generators of them.
    ("openai.api_resources.chat_completion", "ChatCompletion", ("create", "acreate"), "chat"),
    ("openai.api_resources.completion", "Completion", ("create", "acreate"), "text_completion"),
    ("openai.api_resources.embedding", "Embedding", ("create", "acreate"), "embeddings"),
)
"""Module, class, methods, and what they do. What a release does not have is passed by."""

_NOT_SENT: Final = frozenset({"NotGiven", "Omit"})
_done: set[str] = set()


def instrument(tracer: AgentTrace) -> None:
    """Wrap the client's methods, each once. Later calls change nothing."""
    for module, owner, methods, operation in _METHODS:
        try:
            cls = getattr(import_module(module), owner)
        except (ImportError, AttributeError):
            continue
        for method in methods:
            name = f"{cls.__module__}:{owner}.{method}"
            if method in vars(cls) and name not in _done:
                _done.add(name)
                call = _Call(tracer, operation)
                is_async = owner.startswith("Async") or method == "acreate"
                wrapper = call.made_async if is_async else call.made
                wrapt.wrap_function_wrapper(cls.__module__, f"{owner}.{method}", wrapper)


class _Call:
    """Records the calls of one method."""

    def __init__(self, tracer: AgentTrace, operation: str) -> None:
        self._tracer = tracer
        self._operation = operation

    def made(self, wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call of the client."""
        span, begun_ns = self._begin(instance, kwargs), time.time_ns()
        if span is None:
            return wrapped(*args, **kwargs)
        try:
            with covering(span.otel):
                answer = wrapped(*args, **kwargs)
        except BaseException as error:
            _fail(span, error)
            raise
        return self._answered(span, answer, begun_ns) or answer

    async def made_async(
        self, wrapped: Callable[..., Awaitable[Any]], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call of the asynchronous client."""
        span, begun_ns = self._begin(instance, kwargs), time.time_ns()
        if span is None:
            return await wrapped(*args, **kwargs)
        try:
            with covering(span.otel):
                answer = await wrapped(*args, **kwargs)
        except BaseException as error:
            _fail(span, error)
            raise
        return self._answered(span, answer, begun_ns) or answer

    @never_raises
    def _begin(self, instance: Any, kwargs: Mapping[str, Any]) -> Span | None:
        """Start the span of a call; None if it is on record already."""
        if stands_back():
            return None
        request = {name: _plain(value) for name, value in kwargs.items() if type(value).__name__ not in _NOT_SENT}
        extra = request.get("extra_body")
        if isinstance(extra, Mapping):
            request |= extra
        model = request.get("model")
        name = f"{self._operation} {model}" if isinstance(model, str) else self._operation
        span = self._tracer.start(name, self._operation, kind=SpanKind.CLIENT)
        span.otel.set_attributes(_server(instance) | messages.request_attributes(request))
        self._content(span, lambda: messages.request_content(request))
        return span

    @never_raises
    def _answered(self, span: Span, answer: Any, begun_ns: int) -> Any:
        """Record an answer, now if it is here whole, else when the program has read it.

        Returns what the program is to be given instead, if anything.
        """
        if isgenerator(answer) or isasyncgen(answer):
            return self._passed_on(span, answer, begun_ns)
        response = getattr(answer, "http_response", None) or getattr(answer, "response", None)
        if response is not None and hasattr(response, "stream") and not response.is_closed:
            from agenttrace.auto.http_tee import listen  # needs httpx, as the client does since release 1

            listen(response, functools.partial(self._heard, span, begun_ns))
            return None
        body: Any = answer
        if response is not None:  # a raw answer, whose body is here
            body = _json_of(response)
        self._record(span, _plain(body))
        span.otel.end()
        return None

    def _passed_on(self, span: Span, chunks: Any, begun_ns: int) -> Any:
        """Give a generator's chunks to the program, and record them when it has had the last one that it wants."""
        seen: list[Any] = []

        def note(chunk: Any) -> None:
            if not seen:
                span.otel.set_attribute(semconv.TIME_TO_FIRST_CHUNK, (time.time_ns() - begun_ns) / 1e9)
            seen.append(chunk)

        def finish(error: BaseException | None) -> None:
            self._record(span, messages.joined_chunks([chunk for chunk in seen if isinstance(chunk, Mapping)]))
            if error is not None:
                record_error(span.otel, error)
            span.otel.end()

        return _told_async(chunks, note, finish) if isasyncgen(chunks) else _told(chunks, note, finish)

    @never_raises
    def _heard(self, span: Span, begun_ns: int, heard: Heard) -> None:
        if heard.first_ns is not None:
            span.otel.set_attribute(semconv.TIME_TO_FIRST_CHUNK, (heard.first_ns - begun_ns) / 1e9)
        values = heard.values()
        self._record(span, messages.joined_chunks(values) if heard.is_stream or not values else values[0])
        failed = next((value["error"] for value in values if isinstance(value.get("error"), Mapping)), None)
        if heard.error is not None:
            record_error(span.otel, heard.error)
        elif failed is not None:
            span.otel.set_attribute(semconv.ERROR_TYPE, str(failed.get("type") or failed.get("code") or "error"))
            span.set_error(str(failed.get("message") or failed))
        span.otel.end()

    def _record(self, span: Span, response: Any) -> None:
        if isinstance(response, Mapping):
            span.otel.set_attributes(messages.response_attributes(response))
            self._content(span, lambda: messages.response_content(response))

    def _content(self, span: Span, content: Callable[[], Mapping[str, Any]]) -> None:
        settings = self._tracer.settings
        if settings.capture_content and span.otel.is_recording():
            for key, value in content().items():
                span.otel.set_attribute(key, as_text(value, settings.max_content_chars))


def _told(
    chunks: Iterator[Any], note: Callable[[Any], None], finish: Callable[[BaseException | None], None]
) -> Iterator[Any]:
    failed: BaseException | None = None
    try:
        for chunk in chunks:
            note(chunk)
            yield chunk
    except Exception as error:
        failed = error
        raise
    finally:
        finish(failed)


async def _told_async(
    chunks: AsyncIterator[Any], note: Callable[[Any], None], finish: Callable[[BaseException | None], None]
) -> AsyncIterator[Any]:
    failed: BaseException | None = None
    try:
        async for chunk in chunks:
            note(chunk)
            yield chunk
    except Exception as error:
        failed = error
        raise
    finally:
        finish(failed)


@never_raises
def _fail(span: Span, error: BaseException) -> None:
    record_error(span.otel, error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        span.otel.set_attribute("http.response.status_code", status)
    kind = getattr(error, "type", None) or getattr(error, "code", None)
    if isinstance(kind, str):
        span.otel.set_attribute("openai.error.type", kind)
    span.otel.end()


def _server(instance: Any) -> dict[str, Any]:
    client = getattr(instance, "_client", None)
    url = getattr(client, "base_url", None)
    host, port = getattr(url, "host", None), getattr(url, "port", None)
    azure = type(client).__name__.endswith("AzureOpenAI")
    found: dict[str, Any] = {semconv.PROVIDER: "azure.ai.openai" if azure else _provider(host)}
    if host:
        found["server.address"] = host
        if port:
            found["server.port"] = port
    return found


def _provider(host: str | None) -> str:
    """Who answers: many providers speak OpenAI's protocol, and their hosts tell them apart."""
    for part, provider in (
        ("openrouter.ai", "openrouter"), ("groq.com", "groq"), ("deepseek.com", "deepseek"), ("x.ai", "x_ai"),
        ("mistral.ai", "mistral_ai"), ("perplexity.ai", "perplexity"), ("together.xyz", "together"),
        ("fireworks.ai", "fireworks"), ("azure.com", "azure.ai.openai"), ("googleapis.com", "gcp.gemini"),
    ):  # fmt: skip
        if host and (host == part or host.endswith(f".{part}")):
            return provider
    return "openai"


def _plain(value: Any) -> Any:
    """A client's object as JSON values; anything else as it is."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json", warnings=False, exclude_none=True)
    return value


def _json_of(response: Any) -> Any:
    try:
        return response.json()
    except Exception:  # noqa: BLE001 - a body that is no JSON is the program's to deal with
        return None
