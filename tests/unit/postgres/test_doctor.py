"""What ``agenttrace doctor`` says of PostgreSQL."""

from __future__ import annotations

from agenttrace_server.doctor_backends import examine_backends
from agenttrace_server.findings import Verdict
from agenttrace_server.settings import Settings


def test_the_doctor_says_how_the_catalog_is(postgres_url: str) -> None:
    """Whoever asks why nothing is found must learn which of three it is: the server, the setting, or neither."""
    (well,) = examine_backends(Settings(metadata=postgres_url))
    assert (well.verdict, "answers in" in well.found) == (Verdict.GOOD, True)
    (away,) = examine_backends(Settings(metadata="postgresql://u:hush@127.0.0.1:9/db"))
    assert (away.verdict, away.advice.startswith("start it")) == (Verdict.WRONG, True)
    (wrong,) = examine_backends(Settings(metadata="postgresql://u:hush@host/db?shema=x"))
    assert (wrong.verdict, "shema" in wrong.found, "`metadata`" in wrong.advice) == (Verdict.WRONG, True, True)
    assert "hush" not in f"{away} {wrong}"
