"""If these fail, a call to a model is not on record, is twice, or is not what the program would get without us."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.sdk.program import run
from tests.integration.sdk.provider import completion, providing, stream
from tests.unit.sdk.receiver import Receiver

_INIT = """
from agenttrace import init
tracer = init(auto_instrument=["openai"])
import openai
client, aclient = openai.OpenAI(base_url=URL, max_retries=0), openai.AsyncOpenAI(base_url=URL, max_retries=0)
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
ask = dict(model="gpt-4o-mini", messages=messages)
"""


def test_a_call_with_tools_is_recorded_in_full(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _INIT
        + """
with tracer.session("s1", user="u1"):
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    answer = client.chat.completions.create(**ask, temperature=0.5, max_tokens=9, tools=tools)
say(answer.choices[0].message.tool_calls[0].function.name)
"""
    )
    script = completion(calls=[("find", {"q": "x"})], prompt_tokens=20, prompt_tokens_details={"cached_tokens": 8},
                        completion_tokens_details={"reasoning_tokens": 2})  # type: ignore[arg-type]  # fmt: skip
    with providing(script) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["find"]
    (span,) = ran.spans()
    found = span.attributes
    port = found.pop("server.port")
    assert provider.url == f"http://127.0.0.1:{port}/v1"
    messages = {key: json.loads(found.pop(key)) for key in list(found) if key.endswith(("messages", "definitions"))}
    assert (span.name, found) == ("chat gpt-4o-mini", {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "server.address": "127.0.0.1",
        "gen_ai.request.model": "gpt-4o-mini", "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18", "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["tool_calls"], "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 2, "session.id": "s1", "gen_ai.conversation.id": "s1", "user.id": "u1",
    })  # fmt: skip
    assert messages == {
        "gen_ai.input.messages": [
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
        ],
        "gen_ai.output.messages": [
            {"role": "assistant", "finish_reason": "tool_calls",
             "parts": [{"type": "tool_call", "id": "call_find", "name": "find", "arguments": {"q": "x"}}]}
        ],
        "gen_ai.tool.definitions": [{"type": "function", "name": "find", "parameters": {}}],
    }  # fmt: skip


_WAYS = {
    "iterated": """
say([c.choices[0].delta.content for c in client.chat.completions.create(**ask, stream=True) if c.choices])
""",
    "with": """
with client.chat.completions.create(**ask, stream=True) as s:
    say([c.choices[0].delta.content for c in s if c.choices])
""",
    "helper": """
with client.chat.completions.stream(**ask) as s:
    say([e.content for e in s if e.type == "content.done"])
""",
    "raw": """
raw = client.chat.completions.with_raw_response.create(**ask, stream=True)
say([c.choices[0].delta.content for c in raw.parse() if c.choices])
""",
    "lines": """
with client.chat.completions.with_streaming_response.create(**ask, stream=True) as r:
    say(len([line for line in r.iter_lines() if line]))
""",
    "async": """
async def main():
    answer = await aclient.chat.completions.create(**ask, stream=True)
    return [c.choices[0].delta.content async for c in answer if c.choices]
say(asyncio.run(main()))
""",
    "async with": """
async def main():
    async with aclient.chat.completions.stream(**ask) as s:
        return [e.content async for e in s if e.type == "content.done"]
say(asyncio.run(main()))
""",
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_stream_is_recorded_however_it_is_read(receiver: Receiver, tmp_path: Path, way: str) -> None:
    with providing(stream("Hel", "lo")) as provider:
        ran = run(_INIT + _WAYS[way], receiver, provider, tmp_path)
    expected = {"helper": ["Hello"], "async with": ["Hello"], "lines": 5}.get(way, ["Hel", "lo", None])
    assert ran.said == [expected]
    (span,) = ran.spans()
    said = json.loads(span.attributes["gen_ai.output.messages"])
    assert said == [{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < 60


@pytest.mark.parametrize("how", ["break", "close", "forget", "raise"])
def test_an_abandoned_stream_is_recorded_as_far_as_it_was_read(receiver: Receiver, tmp_path: Path, how: str) -> None:
    leave = {"break": "break", "close": "s.close(); break", "forget": "break", "raise": "raise KeyError('x')"}[how]
    code = (
        _INIT
        + f"""
s = client.chat.completions.create(**ask, stream=True)
try:
    for chunk in s:
        {leave}
except KeyError:
    say("raised")
{"del s, chunk; import gc; gc.collect()" if how == "forget" else "s.close()"}
say(tracer.flush())
"""
    )
    with providing(stream(*(f"w{n} " * 2_000 for n in range(50)))) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said[-1] is True
    (span,) = ran.spans()
    assert not span.failed
    assert '"content":"w0 ' in span.attributes["gen_ai.output.messages"]


def test_errors_are_recorded_and_go_on(receiver: Receiver, tmp_path: Path) -> None:
    refusal = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    broken = {"status": 200, "response_sse": ['data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n']}
    code = (
        _INIT
        + """
for stream in (False, True):
    try:
        for _ in client.chat.completions.create(**ask, stream=stream): pass
    except openai.APIError as error:
        say(type(error).__name__)
"""
    )
    with providing({"status": 404, "response_body": refusal}, broken) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["NotFoundError", "APIError"]
    refused, cut = ran.spans()
    assert (refused.failed, refused.attributes["error.type"]) == (True, "openai.NotFoundError")
    assert refused.attributes["http.response.status_code"] == 404
    assert (cut.failed, cut.message, cut.attributes["error.type"]) == (True, "overloaded", "server_error")


def test_parsed_answers_and_other_endpoints(receiver: Receiver, tmp_path: Path) -> None:
    item = {"type": "message", "id": "m", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}  # fmt: skip
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "status": "completed",
                "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
                          "input_tokens_details": {"cached_tokens": 1},
                          "output_tokens_details": {"reasoning_tokens": 2}}}  # fmt: skip
    vectors = {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 2, "total_tokens": 2},
               "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}]}  # fmt: skip
    code = (
        _INIT
        + """
from pydantic import BaseModel
class City(BaseModel):
    name: str
say(client.chat.completions.parse(**ask, response_format=City).choices[0].message.parsed.name)
say(client.responses.create(model="gpt-5", input="Hi", instructions="Be kind.").output_text)
say(len(client.embeddings.create(model="text-embedding-3-small", input="Hi").data))
"""
    )
    with providing(
        completion('{"name": "Leeds"}'),
        {"status": 200, "response_body": response},
        {"status": 200, "response_body": vectors},
    ) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["Leeds", "Hello", 1]
    parsed, answered, embedded = ran.spans()
    assert "Leeds" in parsed.attributes["gen_ai.output.messages"]
    assert (answered.name, answered.attributes["gen_ai.usage.reasoning.output_tokens"]) == ("chat gpt-5", 2)
    assert json.loads(answered.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be kind."}]
    assert (embedded.operation, embedded.attributes["gen_ai.usage.input_tokens"]) == ("embeddings", 2)


def test_every_recorded_exchange_is_one_span_in_each_way_of_asking(
    receiver: Receiver, tmp_path: Path, corpora: Path
) -> None:
    lines = (corpora / "cassettes" / "exchanges.jsonl").read_text().splitlines()
    endpoints = {"/v1/chat/completions": "chat.completions", "/v1/responses": "responses",
                 "/v1/embeddings": "embeddings", "/v1/completions": "completions"}  # fmt: skip
    exchanges = [
        exchange for exchange in map(json.loads, lines)
        if exchange["provider"] == "openai" and exchange["path"] in endpoints
        and isinstance(exchange["request_body"], dict)
    ]  # fmt: skip
    (tmp_path / "asked.json").write_text(json.dumps([[endpoints[e["path"]], e["request_body"]] for e in exchanges]))
    code = (
        _INIT
        + """
from operator import attrgetter
def quiet(call):
    try: call()
    except (openai.APIError, TypeError, ValueError): pass
async def aquiet(of, body):
    try:
        answer = await of.create(**body)
        if body.get("stream"):
            async for _ in answer: pass
    except (openai.APIError, TypeError, ValueError): pass
async def main():
    for where, body in json.load(open("asked.json")):
        of = attrgetter(where)(client)
        def plain():
            answer = of.create(**body)
            if body.get("stream"):
                for _ in answer: pass
        def read():
            with of.with_streaming_response.create(**body) as response: response.read()
        quiet(plain); quiet(read)
        quiet(lambda: of.with_raw_response.create(**body).http_response.read())
        await aquiet(attrgetter(where)(aclient), body)
asyncio.run(main())
"""
    )
    with providing(recorded=exchanges) as provider:
        ran = run(code, receiver, provider, tmp_path)
        assert len(ran.roots) == len(provider.asked) >= 3 * len(exchanges)
    answered = [span for span in ran.roots if not span.failed]
    assert len(answered) > 300
    with_tokens = [span for span in answered if "gen_ai.usage.input_tokens" in span.attributes]
    # Streams of which no usage was asked for have none; nothing else may lack it.
    assert len(with_tokens) > 0.85 * len(answered)
    mute = [s for s in answered if s.operation != "embeddings" and "gen_ai.output.messages" not in s.attributes]
    assert mute == []
