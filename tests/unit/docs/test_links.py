"""The pages point at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import PAGES, name_of

_LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCED = re.compile(r"```.*?\n```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link that leads nowhere tells a reader that the page is not kept."""
    dead = [
        f"{target}#{anchor}" if anchor else target
        for target, anchor in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
        if not _leads_somewhere(page, target, anchor)
    ]
    assert dead == []


def _leads_somewhere(page: Path, target: str, anchor: str) -> bool:
    there = (page.parent / target) if target else page
    return there.exists() and (not anchor or anchor in _anchors(there))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
