"""What a person without tools gets of the API: a page that describes it, and receipts of plain JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from agenttrace_server.query.page import page
from tests.integration.api import AT_ONCE, open_api

pytestmark = pytest.mark.anyio


async def test_the_page_tells_of_every_path_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Lost: the description, to whoever has no internet; or the visit, to somebody who need not know of it."""
    async with open_api(tmp_path, AT_ONCE) as api:
        shown = await api.get("/docs")
        described = (await api.get("/openapi.json")).json()
    assert shown.status_code == 200
    assert shown.headers["content-type"].startswith("text/html")
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<b>{method.upper()}</b> {path}<" in shown.text
    assert not re.search(r"https?://|<script|<link|src=", shown.text)
    assert "next_cursor" in shown.text


def test_what_is_described_is_text_and_no_markup() -> None:
    """Lost: nothing today; a name in angle brackets would vanish from the page."""
    app = FastAPI(title="<b>")
    app.add_api_route("/x/{<y>}", lambda: None, description="<i>")
    shown = page(app.openapi())
    assert "&lt;i&gt;" in shown
    assert "<i>" not in shown


async def test_the_receipt_of_a_simple_trace_tells_what_was_left_out(tmp_path: Path) -> None:
    """Lost: the reason, for whoever asks the receipt and did not read the answer."""
    async with open_api(tmp_path, AT_ONCE) as api:
        sent = (await api.post({"spans": [{"name": "good"}, {"name": "bad", "naem": 1}]})).json()
        assert (sent["accepted"], sent["rejected"]) == (1, 1)
        receipt = await api.readable(sent["receipt"])
    assert (receipt["accepted"], receipt["rejected"]) == (1, 1)
    assert receipt["reason"] == sent["reason"]
    assert "naem" in sent["reason"]
