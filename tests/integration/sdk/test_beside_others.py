"""If these fail, one call to a model is on record twice, or not at all, where several instrumentations look on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.sdk.program import run
from tests.integration.sdk.provider import completion, providing, stream
from tests.unit.sdk.receiver import Receiver

_OTHERS = {
    "openinference": "from openinference.instrumentation.openai import OpenAIInstrumentor",
    "openllmetry": "from opentelemetry.instrumentation.openai import OpenAIInstrumentor",
}
_OURS = 'from agenttrace import init; tracer = init(auto_instrument=["openai"])'


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
@pytest.mark.parametrize("other", _OTHERS)
def test_a_call_is_one_inference_span_in_either_order(
    receiver: Receiver, tmp_path: Path, other: str, order: str
) -> None:
    theirs = f"{_OTHERS[other]}; OpenAIInstrumentor().instrument()"
    code = "\n".join(
        [_OURS, theirs] if order == "ours first" else ["import agenttrace; agenttrace.init()", theirs, _OURS]
    )
    code += """
import openai
client = openai.OpenAI(base_url=URL, max_retries=0)
ask = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
with tracer.span("mine"):
    client.chat.completions.create(**ask)
    for _ in client.chat.completions.create(**ask, stream=True): pass
"""
    with providing(completion("Hello"), stream("Hel", "lo")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    (root,) = ran.roots
    inferences = [node for node in root.all()[1:] if _is_inference(node.attributes)]
    assert len(inferences) == 2, [node.name for node in root.all()]


@pytest.mark.parametrize("other", sorted(_OTHERS))
def test_a_call_of_the_responses_api_is_one_where_ours_is_the_outermost(
    receiver: Receiver, tmp_path: Path, other: str
) -> None:
    theirs = f"{_OTHERS[other]}; OpenAIInstrumentor().instrument()"
    code = "\n".join(["import agenttrace; agenttrace.init()", theirs, _OURS])
    code += """
import openai
with tracer.span("mine"):
    openai.OpenAI(base_url=URL, max_retries=0).responses.create(model="gpt-4o-mini", input="Hi")
"""
    parts = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13} | parts
    body = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-mini",
            "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "usage": usage}  # fmt: skip
    with providing({"status": 200, "response_body": body}) as provider:
        ran = run(code, receiver, provider, tmp_path)
    (root,) = ran.roots
    assert [node.attributes["gen_ai.usage.input_tokens"] for node in root.all()[1:]] == [9]


def _is_inference(attributes: dict[str, object]) -> bool:
    kinds = (attributes.get("gen_ai.operation.name"), attributes.get("openinference.span.kind"),
             attributes.get("llm.request.type"))  # fmt: skip
    return any(kind in {"chat", "LLM"} for kind in kinds)


def test_any_installed_instrumentation_can_be_named_and_an_unknown_one_is_told(
    receiver: Receiver, tmp_path: Path
) -> None:
    code = """
import agenttrace
try: agenttrace.init(auto_instrument=["openay"])
except ValueError as error: say(str(error))
tracer = agenttrace.init(auto_instrument=["openai", "httpx"])
import openai
client = openai.OpenAI(base_url=URL, max_retries=0)
with tracer.span("mine"):
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
"""
    with providing(completion("Hello")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    (told,) = ran.said
    assert told.startswith("auto_instrument: there is no instrumentation 'openay'; there are crewai, httpx")
    assert [root.shape() for root in ran.roots] == [("mine", ("chat gpt-4o-mini", "POST"))]


def test_a_provider_of_the_applications_own_is_joined(receiver: Receiver, tmp_path: Path) -> None:
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
own = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(own))
trace.set_tracer_provider(provider)
import agenttrace
tracer = agenttrace.init()
assert agenttrace.init().provider is provider
with trace.get_tracer("theirs").start_as_current_span("theirs"), tracer.span("ours"): pass
say([span.name for span in own.get_finished_spans()])
"""
    with providing() as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == [["ours", "theirs"]]
    assert [root.shape() for root in ran.roots] == [("theirs", "ours")]
