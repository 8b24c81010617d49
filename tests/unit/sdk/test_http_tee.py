"""If these fail, an answer that came compressed is on record without its text and its tokens."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest
import zstandard

from agenttrace.auto.http_tee import Heard

_BODY = b'data: {"a": 1}\n\n' + b": " + bytes(range(97, 123)) * 50 + b'\n\ndata: {"b": 2}\n\n'


@pytest.mark.parametrize(
    ("coding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress), ("", bytes)],
)
def test_a_compressed_answer_is_read_as_far_as_it_came(coding: str, encode: Callable[[bytes], bytes]) -> None:
    body = encode(_BODY)
    for end, found in ((len(body), [{"a": 1}, {"b": 2}]), (len(body) - 1, None)):
        headers = {"content-type": "text/event-stream"} | ({"content-encoding": coding} if coding else {})
        heard = Heard(httpx.Response(200, headers=headers), lambda _: None)
        for at in range(0, end, 7):
            heard.add(body[at : min(at + 7, end)])
        values = heard.values()
        assert values == found or (found is None and values[:1] in ([{"a": 1}], []))
