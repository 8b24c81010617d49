"""LangChain and LangGraph: every run that they tell callbacks of, as a span.

A handler is registered for all runs, with a default in its context variable, so that threads have it too. Parents
follow from the runs' own ids; the current context is never changed, since callbacks begin and end in different places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from time import time_ns
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook
from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanKind, set_span_in_context

from agenttrace import semconv
from agenttrace.auto import langchain_messages as said
from agenttrace.auto.inference import Cover, stands_back
from agenttrace.content import as_text
from agenttrace.quiet import never_raises
from agenttrace.spans import Span, record_error
from agenttrace.tracer import AgentTrace

_HIDDEN: Final = "langsmith:hidden"
_AGENT: Final = "langchain_create_agent"
_GRAPH: Final = "langgraph"
_MOST_RUNS: Final = 100_000
_PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")
_handler: ContextVar[BaseCallbackHandler | None] | None = None


def instrument(tracer: AgentTrace) -> None:
    """Have every run recorded from now on. Later calls change nothing."""
    global _handler  # noqa: PLW0603 - a process has one
    if _handler is None:
        handler: BaseCallbackHandler | None = Handler(tracer)
        _handler = ContextVar("agenttrace_langchain", default=handler)
        register_configure_hook(_handler, inheritable=True)


@dataclass(slots=True)
class _Run:
    """A run under way. ``span`` is None for one that has no span of its own; its children hang under ``context``."""

    span: Span | None
    context: Context
    begun_ns: int
    cover: Cover | None = None
    has_begun_to_answer: bool = False

    def uncover(self) -> None:
        """What is called from now on is no part of this inference."""
        cover, self.cover = self.cover, None
        if cover is not None:
            cover.end()


class Handler(BaseCallbackHandler):
    """Makes a span of each run. Inference is a span of its own only where no other instrumentation has one."""

    run_inline = True
    """In the program's own task and thread, so that what is called within an inference knows that it is."""
    raise_error = False

    def __init__(self, tracer: AgentTrace) -> None:
        self._tracer = tracer
        self._runs: dict[UUID, _Run] = {}
        self._lock = Lock()

    # -- chains, agents, graphs ---------------------------------------------------------------------

    @never_raises
    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **told: Any) -> None:
        """A chain, an agent, a graph or a node of one begins."""
        if _HIDDEN in (told.get("tags") or ()):
            self._pass_through(run_id, told.get("parent_run_id"))
            return
        name, metadata = _name(serialized, told), told.get("metadata") or {}
        operation = "chain"
        if metadata.get("ls_integration") == _AGENT and name == metadata.get("lc_agent_name", name):
            operation = "invoke_agent" if metadata.get("langgraph_node") != name else "chain"
        elif metadata.get("ls_integration") == _GRAPH and "langgraph_node" not in metadata:
            operation = "invoke_workflow"
        span = self._begin(run_id, name, operation, told)
        if "langgraph_node" in metadata:
            span.set_attributes({
                "langgraph.node": metadata["langgraph_node"], "langgraph.step": metadata.get("langgraph_step"),
            })  # fmt: skip
        self._content(span, semconv.INPUT, _content_of(inputs))

    @never_raises
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """It has ended."""
        self._end(run_id, semconv.OUTPUT, _content_of(outputs))

    @never_raises
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has failed, or stopped to ask a person (LangGraph's interrupt), which is no failure."""
        self._fail(run_id, error)

    # -- tools and retrievers -----------------------------------------------------------------------

    @never_raises
    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, **told: Any) -> None:
        """A tool begins."""
        span = self._begin(run_id, _name(serialized, told), "execute_tool", told)
        description = (serialized or {}).get("description")
        if isinstance(description, str):
            span.set_attribute(semconv.TOOL_DESCRIPTION, description)
        call_id = told.get("tool_call_id")
        if isinstance(call_id, str):
            span.set_attribute(semconv.TOOL_CALL_ID, call_id)
        given = told.get("inputs")
        self._content(span, semconv.TOOL_ARGUMENTS, input_str if given is None else given)

    @never_raises
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """It has ended."""
        run = self._runs.get(run_id)
        if run is not None and run.span is not None and getattr(output, "tool_call_id", None):
            run.span.set_attribute(semconv.TOOL_CALL_ID, output.tool_call_id)
        self._end(run_id, semconv.TOOL_RESULT, getattr(output, "content", output))

    @never_raises
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has failed."""
        self._fail(run_id, error)

    @never_raises
    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **told: Any) -> None:
        """A retriever begins."""
        span = self._begin(run_id, _name(serialized, told), "retrieval", told)
        self._content(span, semconv.RETRIEVAL_QUERY, query)

    @never_raises
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_: Any) -> None:
        """It has ended."""
        self._end(run_id, semconv.RETRIEVAL_DOCUMENTS, said.documents(documents))

    @never_raises
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has failed."""
        self._fail(run_id, error)

    # -- models -----------------------------------------------------------------------------------

    @never_raises
    def on_chat_model_start(
        self, serialized: Any, messages: Sequence[Sequence[Any]], *, run_id: UUID, **told: Any
    ) -> None:
        """A chat model is asked."""
        given = [said.message(one) for batch in messages for one in batch]
        system = [part for one in given if one["role"] == "system" for part in one["parts"]]
        self._asked(run_id, "chat", serialized, told, [one for one in given if one["role"] != "system"], system)

    @never_raises
    def on_llm_start(self, serialized: Any, prompts: Sequence[str], *, run_id: UUID, **told: Any) -> None:
        """A model that completes text is asked."""
        self._asked(run_id, "text_completion", serialized, told, [said.message(prompt) for prompt in prompts], [])

    @never_raises
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        """A piece of the answer has come."""
        run = self._runs.get(run_id)
        if run is not None and run.span is not None and not run.has_begun_to_answer:
            run.has_begun_to_answer = True
            run.uncover()  # the model has been asked: what the program does between two pieces is its own
            run.span.otel.set_attribute(semconv.TIME_TO_FIRST_CHUNK, (time_ns() - run.begun_ns) / 1e9)

    @never_raises
    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """It has answered."""
        run = self._runs.get(run_id)
        if run is not None and run.span is not None:
            run.span.otel.set_attributes(said.result_attributes(response))
        self._end(run_id, semconv.OUTPUT_MESSAGES, said.output_messages(response))

    @never_raises
    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: Any = None, **_: Any) -> None:
        """It has failed, or its stream was let go of, which is no failure; ``response`` is what had come by then."""
        run = self._runs.get(run_id)
        if run is not None and run.span is not None and response is not None:
            run.span.otel.set_attributes(said.result_attributes(response))
            answer = said.output_messages(response)
            if any(message["parts"] for message in answer):
                self._content(run.span, semconv.OUTPUT_MESSAGES, answer)
        self._fail(run_id, error)

    # -- what they share ----------------------------------------------------------------------------

    def _asked(
        self,
        run_id: UUID,
        operation: str,
        serialized: Any,
        told: Mapping[str, Any],
        given: list[Any],
        system: list[Any],
    ) -> None:
        if stands_back():
            self._pass_through(run_id, told.get("parent_run_id"))
            return
        metadata, parameters = told.get("metadata") or {}, told.get("invocation_params") or {}
        model = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name")
        name = f"{operation} {model}" if isinstance(model, str) else _name(serialized, told)
        span = self._begin(run_id, name, operation, told, kind=SpanKind.CLIENT)
        self._runs[run_id].cover = Cover.begin()
        if isinstance(model, str):
            span.set_attribute(semconv.REQUEST_MODEL, model)
        if isinstance(metadata.get("ls_provider"), str):
            span.set_attribute(semconv.PROVIDER, _provider(metadata["ls_provider"]))
        span.set_attributes({
            f"gen_ai.request.{name}": parameters[name]
            for name in _PARAMETERS if type(parameters.get(name)) in {int, float}
        })  # fmt: skip
        self._content(span, semconv.INPUT_MESSAGES, given)
        if system:
            self._content(span, semconv.SYSTEM_INSTRUCTIONS, system)
        if isinstance(parameters.get("tools"), list):
            self._content(span, semconv.TOOL_DEFINITIONS, parameters["tools"])

    def _begin(
        self, run_id: UUID, name: str, operation: str, told: Mapping[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> Span:
        above = self._runs.get(told.get("parent_run_id") or run_id)
        context = above.context if above is not None else get_current()
        attributes: dict[str, Any] = {}
        if above is None:
            thread = (told.get("metadata") or {}).get("thread_id")
            if isinstance(thread, str):
                attributes = {semconv.CONVERSATION_ID: thread, semconv.SESSION_ID: thread}
        span = self._tracer.start(name, operation, kind=kind, context=context)
        carried = getattr(span.otel, "attributes", None) or {}
        span.otel.set_attributes({key: value for key, value in attributes.items() if key not in carried})
        with self._lock:
            if len(self._runs) >= _MOST_RUNS:  # runs whose end nobody tells must not fill the memory
                self._runs.pop(next(iter(self._runs)))
            self._runs[run_id] = _Run(span, set_span_in_context(span.otel, context), time_ns())
        return span

    def _pass_through(self, run_id: UUID, parent: UUID | None) -> None:
        above = self._runs.get(parent) if parent is not None else None
        with self._lock:
            self._runs[run_id] = _Run(None, above.context if above is not None else get_current(), time_ns())

    def _end(self, run_id: UUID, key: str, value: Any) -> None:
        span = self._closed(run_id)
        if span is not None:
            if value is not None:
                self._content(span, key, value)
            span.otel.end()

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        span = self._closed(run_id)
        if span is None:
            return
        if _is_interrupt(error):
            span.add_event("langgraph.interrupt", {"value": getattr(error, "args", ())})
        elif not isinstance(error, GeneratorExit):
            record_error(span.otel, error)
        span.otel.end()

    def _closed(self, run_id: UUID) -> Span | None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is None:
            return None
        run.uncover()
        return run.span

    def _content(self, span: Span, key: str, value: Any) -> None:
        settings = self._tracer.settings
        if settings.capture_content and span.otel.is_recording():
            span.otel.set_attribute(key, as_text(value, settings.max_content_chars))


def _name(serialized: Any, told: Mapping[str, Any]) -> str:
    if told.get("name"):
        return str(told["name"])
    serialized = serialized if isinstance(serialized, Mapping) else {}
    identity = serialized.get("id")
    return str(serialized.get("name") or (identity[-1] if isinstance(identity, list) and identity else "run"))


def _provider(name: str) -> str:
    return {"azure": "azure.ai.openai", "google_genai": "gcp.gemini", "google_vertexai": "gcp.vertex_ai",
            "amazon_bedrock": "aws.bedrock", "mistral": "mistral_ai"}.get(name, name)  # fmt: skip


def _is_interrupt(error: BaseException) -> bool:
    return any(cls.__name__ == "GraphBubbleUp" for cls in type(error).__mro__)


def _content_of(value: Any) -> Any:
    """What a chain was given or gave, with the messages in it in OpenTelemetry's form."""
    if isinstance(value, Mapping):
        return {key: _content_of(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_content_of(inner) for inner in value]
    return said.message(value) if hasattr(value, "content") and hasattr(value, "type") else value
