"""The client in Python: the examples of its page, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from agenttrace.client import Client, MissingPackageError, QueryError, ServerError, UnreachableError
from tests.integration.api import AT_ONCE, Api, open_api, otlp, span
from tests.unit.docs.pages import TREE, blocks

pytestmark = pytest.mark.anyio

PAGE = TREE / "docs" / "client.md"


def attributes(**values: Any) -> list[dict[str, Any]]:
    kinds = {int: "intValue", str: "stringValue"}
    return [{"key": k.replace("__", "."), "value": {kinds[type(v)]: v}} for k, v in values.items()]


CHAT = attributes(
    gen_ai__operation__name="chat", gen_ai__provider__name="openai", gen_ai__request__model="gpt-4.1",
    gen_ai__usage__input_tokens=100, gen_ai__usage__output_tokens=10, gen_ai__conversation__id="s-1",
    gen_ai__input__messages='[{"role": "user", "parts": [{"type": "text", "content": "What is new?"}]}]',
)  # fmt: skip


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with a trace that has cost something, and failed."""
    async with open_api(tmp_path, AT_ONCE) as api:
        failed = {"status": {"code": 2, "message": "no"}}
        await api.store(otlp([span(1), span(2, name="chat gpt-4.1", attributes=CHAT, **failed)]))
        yield api


async def test_the_examples_of_the_page_run(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: the trust of whoever types what the page says."""
    monkeypatch.setenv("AGENTTRACE_API", api.url)
    told = StringIO()

    def run() -> dict[str, Any]:
        space: dict[str, Any] = {}
        with redirect_stdout(told):
            for block in blocks(PAGE, "python"):
                exec(compile(block.code, str(PAGE), "exec"), space)  # noqa: S102 - our own page
        space["client"].close()
        return space

    space = await asyncio.to_thread(run)
    assert "What is new?" in told.getvalue()
    assert "modle" in told.getvalue()
    assert space["table"]["cost_usd"].to_pylist() == [Decimal("0.00028")]
    assert str(space["frame"]["p95_ns"].dtype) == "float64"
    assert space["polar"]["spans"].sum() == 2
    assert space["usage"].rows[0]["cost_usd"] == Decimal("0.00028")


async def test_objects_say_what_the_api_says(api: Api) -> None:
    """Lost otherwise: figures that differ by the way in which one asks."""

    def ask() -> None:
        with Client(api.url) as client:
            (trace,) = client.traces()
            assert (trace.span_count, trace.errors, trace.cost_usd) == (2, 1, Decimal("0.00028"))
            one = client.trace(trace.trace_id)
            assert (one.trace_id, one.cost_usd, one.span_count) == (trace.trace_id, trace.cost_usd, trace.span_count)
            assert [s.name for s in trace.spans()] == ["span 1", "chat gpt-4.1"]
            (session,) = client.sessions()
            assert [t.trace_id for t in session.traces()] == [trace.trace_id]
            assert client.session("s-1").cost_usd == trace.cost_usd
            (chat,) = client.spans("operation:chat")
            assert chat.details().attributes["gen_ai.usage.input_tokens"] == 100

    await asyncio.to_thread(ask)


async def test_what_is_wrong_is_told_by_its_kind(api: Api) -> None:
    """Lost otherwise: a program's chance to do something about it."""

    def ask() -> None:
        with Client(api.url) as client:
            with pytest.raises(QueryError) as wrong:
                list(client.traces("status:error modle:x"))
            assert wrong.value.position == 13
            with pytest.raises(ServerError) as missing:
                client.trace("f" * 32)
            assert (missing.value.status, missing.value.kind) == (404, "not_found")
        with Client("http://127.0.0.1:9") as nobody, pytest.raises(UnreachableError):
            list(nobody.traces())

    await asyncio.to_thread(ask)


def test_a_package_that_is_missing_is_told_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: an import error from somewhere deep within."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        Client()


def test_importing_it_loads_nothing_heavy() -> None:
    """Lost otherwise: the start of every program that might ask something one day."""
    program = (
        "import sys, agenttrace.client;"
        "heavy = {'httpx', 'pyarrow', 'numpy', 'pandas', 'polars', 'pydantic', 'duckdb'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
