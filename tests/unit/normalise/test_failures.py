"""Kinds of failures. If these fail, one cause is listed as a thousand, or two as one."""

from __future__ import annotations

import pytest

from agenttrace_core.normalise.failures import kind_of
from tests.unit.normalise.spans import rows_of

ERROR = 2


@pytest.mark.parametrize(
    ("one", "another", "kind"),
    [
        ("timeout after 30 s", "timeout after 2.5 s", "timeout after <n> s"),
        ("no user 'ann'", "no user 'bob'", "no user <text>"),
        ('bad key "a b"', 'bad key "c"', "bad key <text>"),
        ("6f1c2b3a-0000-4000-8000-000000000001 lost", "0f1c2b3a-0000-4000-8000-00000000000f lost", "<uuid> lost"),
        ("at 0x7f9b9b9d2d40", "at 0x00", "at <hex>"),
        ("commit deadbeef12 is gone", "commit 0a1b2c3d4e5f is gone", "commit <hex> is gone"),
        ("GET https://a.b/c?d=1 failed", "GET http://x:80/y failed", "GET <url> failed"),
        ("open /var/log/a.log: denied", "open /home/x/y: denied", "open <path>: denied"),
        ("no id chatcmpl_Abc123Def456ghi", "no id call_WxZcCvSDhGT4RJHlcU01k10x", "no id <id>"),
        ("two\n  lines", "two lines", "two lines"),
        ("it can't be", "it can't be", "it can't be"),
    ],
)  # fmt: skip
def test_what_varies_is_taken_out(one: str, another: str, kind: str) -> None:
    assert kind_of(one) == kind_of(another) == kind


def test_a_kind_is_short_and_a_blank_message_is_none() -> None:
    assert len(kind_of("word " * 10_000) or "") == 200
    assert kind_of(" \n") is None


def test_a_failed_span_says_with_what_it_failed() -> None:
    exception = {"exception.type": "KeyError", "exception.message": "'k1'"}
    first = {"exception.type": "Retry", "exception.message": "again"}
    both = [{"name": "exception", "attributes": attributes} for attributes in (first, exception)]
    rows = rows_of([
        {"status": ERROR, "status_message": "s", "events": both},
        {"status": ERROR, "attributes": {"error.type": "timeout"}, "status_message": "no answer in 5 s"},
        {"status": ERROR},
        {"events": both},
    ]).to_pylist()  # fmt: skip
    assert [(row["error_type"], row["error_group"]) for row in rows] == [
        ("KeyError", "<text>"), ("timeout", "no answer in <n> s"), (None, None), (None, None),
    ]  # fmt: skip
