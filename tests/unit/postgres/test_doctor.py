"""What ``agenttrace doctor`` says of PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from agenttrace_server.doctor_backends import examine_backends
from agenttrace_server.doctor_files import files_finding
from agenttrace_server.findings import Verdict
from agenttrace_server.settings import Settings
from tests.servers.postgres import PostgresPlace


def test_the_doctor_says_how_the_catalog_is(postgres_url: str) -> None:
    """Whoever asks why nothing is found must learn which of three it is: the server, the setting, or neither."""
    (well,) = examine_backends(Settings(metadata=postgres_url))
    assert (well.verdict, "answers in" in well.found) == (Verdict.GOOD, True)
    (away,) = examine_backends(Settings(metadata="postgresql://u:hush@127.0.0.1:9/db"))
    assert (away.verdict, away.advice.startswith("start it")) == (Verdict.WRONG, True)
    (wrong,) = examine_backends(Settings(metadata="postgresql://u:hush@host/db?shema=x"))
    assert (wrong.verdict, "shema" in wrong.found, "`metadata`" in wrong.advice) == (Verdict.WRONG, True, True)
    assert "hush" not in f"{away} {wrong}"


def test_the_doctor_finds_a_role_that_may_only_read(postgres_url: str) -> None:
    """Lost otherwise: "all is well" of a deployment in which no part can start."""
    assert [finding.verdict for finding in examine_backends(Settings(metadata=postgres_url))] == [Verdict.GOOD]
    owner, role = PostgresPlace(postgres_url), f"reader_{uuid4().hex[:12]}"
    owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    try:
        owner.execute(f"GRANT USAGE ON SCHEMA agenttrace TO {role}")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA agenttrace TO {role}")
        parts = urlsplit(postgres_url)
        theirs = urlunsplit(parts._replace(netloc=f"{role}:hush@{parts.netloc.rpartition('@')[2]}"))
        (finding,) = examine_backends(Settings(metadata=theirs))
        assert (finding.verdict, "permission denied" in finding.found) == (Verdict.WRONG, True)
        assert "hush" not in str(finding)
    finally:
        owner.execute(f"DROP OWNED BY {role}")
        owner.execute(f"DROP ROLE {role}")


def test_the_doctor_makes_no_folder_for_files_that_are_not_there_yet(postgres_url: str, tmp_path: Path) -> None:
    """Lost otherwise: whoever only asks finds an empty data folder where he stood."""
    folder = tmp_path / "data"
    assert files_finding(Settings(metadata=postgres_url, data=folder)) is None
    assert not folder.exists()
