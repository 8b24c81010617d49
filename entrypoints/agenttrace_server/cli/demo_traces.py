"""The traces of ``agenttrace demo``: what agents do on good days and bad, written by hand."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from agenttrace_server.cli.demo_spans import Pen

_MINUTE_NS = 60_000_000_000


def demo_request(now_ns: int | None = None, seed: int | None = None) -> dict[str, Any]:
    """Return one OTLP/JSON request with all of them, ending about now.

    Args:
        now_ns: nanoseconds since the epoch; the clock's if not given.
        seed: the same seed gives the same ids; fresh ones if not given.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    chance = random.Random(seed)  # noqa: S311 - ids of a demonstration, not secrets
    stories: list[Callable[[int, random.Random], Pen]] = [
        _research, _rag, _streaming_chat, _failing_tool, _retry, _second_turn,
    ]  # fmt: skip
    starts = [now_ns - (len(stories) - number) * _MINUTE_NS for number in range(len(stories))]
    pens = [story(start, chance) for story, start in zip(stories, starts, strict=True)]
    return {"resourceSpans": [pen.resource_spans() for pen in pens]}


def _research(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("research-crew", start_ns, chance, session="demo-research-1", user="ada")
    with pen.agent("coordinator", "How did sodium-ion batteries develop in the last five years? Two pages."):
        pen.chat(
            "gpt-4.1", "Plan the research. Who should do what?",
            "1. researcher: chemistry and makers. 2. analyst: prices. 3. writer: two pages.",
            took_ms=1900, tokens=(812, 164),
        )  # fmt: skip
        with pen.agent("researcher", "Find the state of cathode chemistry, and who makes cells."):
            for query, hits in (("sodium-ion cathode 2024 review", 9), ("sodium-ion cell makers capacity", 12)):
                with pen.tool("web_search", {"query": query}):
                    pen.wait(640)
                    pen.note(gen_ai__tool__call__result=f'{{"hits": {hits}}}')
            with pen.tool("read_page", {"url": "https://example.org/prussian-white"}):
                pen.wait(420)
                pen.note(gen_ai__tool__call__result="Prussian white reaches 160 mAh/g after 1,000 cycles …")
            pen.chat(
                "claude-sonnet-4-5", "Summarise what you found, with sources.",
                "Layered oxides lead in density; Prussian white in cost; polyanions in cycle life …",
                took_ms=5400, tokens=(9_240, 1_105), provider="anthropic",
            )  # fmt: skip
        pen.back(4200)  # the analyst had begun meanwhile
        with pen.agent("analyst", "Compare prices per kWh with LFP since 2020."):
            with pen.tool("run_sql", {"query": "SELECT year, chemistry, usd_per_kwh FROM prices WHERE year >= 2020"}):
                pen.wait(210)
                pen.note(gen_ai__tool__call__result="18 rows")
            with pen.tool("python", {"code": "df.pivot('year', 'chemistry', 'usd_per_kwh').plot()"}):
                pen.wait(1300)
                pen.note(gen_ai__tool__call__result="chart.png")
            pen.chat(
                "gpt-4.1-mini", "Interpret the table.", "The gap narrowed from 40 % to 12 % …",
                took_ms=1500, tokens=(2_310, 287),
            )  # fmt: skip
        with pen.agent("writer", "Write two pages from the notes."):
            pen.chat(
                "claude-sonnet-4-5", "Write it.", "# Sodium-ion batteries, 2020 to 2025\n\nFive years ago …",
                took_ms=14_800, tokens=(6_720, 2_940), provider="anthropic",
            )  # fmt: skip
        pen.note(gen_ai__output__messages="Report of two pages, 11 sources.")
    return pen


def _rag(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("handbook-bot", start_ns, chance, session="demo-handbook-7", user="grace")
    question = "How many days may I work from abroad?"
    with pen.span("answer_question", {"gen_ai.operation.name": "invoke_workflow", "input.value": question}):
        embedding = {
            "gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "text-embedding-3-small", "gen_ai.usage.input_tokens": 11,
        }  # fmt: skip
        with pen.span("embeddings text-embedding-3-small", embedding, kind="client"):
            pen.wait(95)
        retrieval = {
            "gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "handbook",
            "gen_ai.retrieval.query.text": question, "gen_ai.retrieval.top_k": 4,
        }  # fmt: skip
        with pen.span("retrieval handbook", retrieval, kind="client"):
            pen.wait(38)
            for rank, score in enumerate((0.91, 0.87, 0.71, 0.52), 1):
                pen.event("document", {"id": f"policy-{40 + rank}", "score": score})
        with pen.span("rerank", {"gen_ai.operation.name": "rerank"}):
            pen.wait(120)
        pen.chat(
            "gpt-4.1-mini", f"Answer from the passages.\n\n{question}",
            "Up to 30 days a year, with your manager's consent [policy-41].",
            took_ms=1150, tokens=(1_842, 61),
        )  # fmt: skip
        pen.note(output__value="Up to 30 days a year, with your manager's consent [policy-41].")
    return pen


def _streaming_chat(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("support-chat", start_ns, chance, session="demo-support-3", user="linus")
    with pen.span("POST /chat", {"http.request.method": "POST", "http.route": "/chat"}):
        pen.wait(5)
        with pen.calling("claude-haiku-4-5", "My parcel says delivered, but it is not here.", provider="anthropic"):
            pen.note(gen_ai__request__stream=True, gen_ai__response__time_to_first_chunk=0.38)
            pen.wait(380)
            pen.event("gen_ai.first_chunk")
            for _ in range(4):
                pen.wait(310)
                pen.event("gen_ai.chunk", {"tokens": 24})
            pen.answered("I am sorry to hear that. Let us first look whether a neighbour took it in …", (342, 96))
    return pen


def _failing_tool(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("travel-agent", start_ns, chance, session="demo-travel-2", user="ada")
    with pen.agent("travel-agent", "Book the 9:40 from Zürich to Vienna on Friday."):
        pen.chat("gpt-4.1", "Which tool next?", "search_trains", took_ms=820, tokens=(640, 22))
        with pen.tool("search_trains", {"from": "Zürich HB", "to": "Wien Hbf", "date": "Friday"}):
            pen.wait(510)
            pen.fail("ValueError", "date 'Friday' is not YYYY-MM-DD")
        pen.chat("gpt-4.1", "The tool failed: date 'Friday' …", "search_trains again", took_ms=700, tokens=(702, 25))
        with pen.tool("search_trains", {"from": "Zürich HB", "to": "Wien Hbf", "date": "2025-11-28"}):
            pen.wait(480)
            pen.note(gen_ai__tool__call__result='[{"train": "RJX 163", "departs": "09:40"}]')
        with pen.tool("book", {"train": "RJX 163", "seat": "window"}):
            pen.wait(2100)
            pen.fail("PaymentDeclined", "card ending 4242 was declined")
        pen.chat(
            "gpt-4.1", "Booking failed: card declined. Tell the user.",
            "The 9:40 has seats, but your card was declined. Shall I try another?",
            took_ms=930, tokens=(810, 48),
        )  # fmt: skip
        pen.fail("PaymentDeclined", "the booking was not made")
    return pen


def _retry(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("summariser", start_ns, chance)
    with pen.span("summarise_ticket", {"gen_ai.operation.name": "invoke_workflow", "ticket": 88_123}):
        for attempt, pause_ms in ((1, 500), (2, 1000)):
            with pen.calling("gpt-4.1-mini", "Summarise ticket 88123."):
                pen.note(retry__attempt=attempt)
                pen.wait(140)
                pen.fail("RateLimitError", "429: rate limit reached for requests; try again in 1 s")
            pen.wait(pause_ms)
        with pen.calling("gpt-4.1-mini", "Summarise ticket 88123."):
            pen.note(retry__attempt=3)
            pen.wait(1700)
            pen.answered("Customer cannot log in since the change of e-mail address; resend the link.", (2_950, 71))
    return pen


def _second_turn(start_ns: int, chance: random.Random) -> Pen:
    pen = Pen("support-chat", start_ns, chance, session="demo-support-3", user="linus")
    with pen.span("POST /chat", {"http.request.method": "POST", "http.route": "/chat"}):
        pen.wait(5)
        with pen.tool("lookup_parcel", {"number": "CH-2201-88"}):
            pen.wait(160)
            pen.note(gen_ai__tool__call__result='{"status": "delivered", "to": "neighbour, 3rd floor"}')
        pen.chat(
            "claude-haiku-4-5", "No, nobody has it. The number is CH-2201-88.",
            "It was handed to a neighbour on the 3rd floor yesterday at 17:20.",
            took_ms=890, tokens=(611, 34), provider="anthropic",
        )  # fmt: skip
    return pen
