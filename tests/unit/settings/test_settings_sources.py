"""Settings: which source wins, what is refused, and whether the message helps."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.errors import ConfigurationError
from agenttrace_core.normalise.prices.own import OwnPrice
from agenttrace_server.composition_writer import pricing_of
from agenttrace_server.settings import Settings
from agenttrace_server.settings_sources import known_keys, resolve, variable_of

KEY = "0" * 63 + "a"


def write(folder: Path, text: str) -> Path:
    path = folder / "given.toml"
    path.write_text(text)
    return path


def refusal(**arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        resolve(**{"environ": {}, **arguments})  # type: ignore[arg-type]
    return str(caught.value)


def test_command_line_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Lost: an operator who overrides a setting for one run gets the file's value and does not notice."""
    config = write(tmp_path, "[ingest]\nport = 1\ngrpc_port = 1\nhost = '127.0.0.2'\n")
    environ = {"AGENTTRACE_INGEST__PORT": "2", "AGENTTRACE_INGEST__GRPC_PORT": "2"}
    resolved = resolve(config=config, environ=environ, options={"ingest.port": 3, "query.port": None})

    ingest = resolved.settings.ingest
    assert (ingest.host, ingest.grpc_port, ingest.port) == ("127.0.0.2", 2, 3)
    assert resolved.settings.query.port == 8000
    assert resolved.origins == {
        "ingest.port": "command line",
        "ingest.grpc_port": "environment AGENTTRACE_INGEST__GRPC_PORT",
        "ingest.host": str(config),
    }


def test_every_key_has_a_variable_that_sets_it() -> None:
    """Lost: the promise that every key ``a.b`` is also ``AGENTTRACE_A__B``."""
    texts = {
        "data": "/d", "queue": "log:/q", "storage": "file:/s", "metadata": "sqlite:/m", "index": "duckdb:",
        "cache": "memory:", "allowed_hosts": "a,b", "log.level": "debug",
        "auth.keys": f'[{{"project": "p", "sha256": "{KEY}"}}]',
        "retention.projects": '[{"project": "p", "expire_after": "7d"}]',
        "retention.tiers.enabled": "true", "auth.local": "false",
        "retention.tiers.projects": '[{"project": "p", "glacier_after": "90d"}]',
        "prices.own": '[{"model": "m*", "from": "2026-01-01", "input": 2.5, "output": "10"}]',
        "ingest.allowed_origins": '["https://a.example"]', "ingest.host": "127.0.0.1", "query.host": "::1",
    }  # fmt: skip
    environ = {variable_of(key): texts.get(key, str(2**26)) for key, _ in known_keys()}
    environ |= {variable_of(key): "77" for key, _ in known_keys() if key.endswith("port")}
    resolved = resolve(environ=environ)

    assert set(resolved.origins) == {key for key, _ in known_keys()}
    assert resolved.settings.allowed_hosts == ("a", "b")
    assert resolved.settings.ingest.allowed_origins == ("https://a.example",)
    assert resolved.settings.auth.keys[0].project == "p"
    assert not resolved.settings.auth.local
    assert resolved.settings.retention.projects[0].expire_after == 7 * 86400.0
    assert resolved.settings.retention.tiers.projects[0].glacier_after == 90 * 86400.0
    assert resolved.settings.prices.own[0].input == Decimal("2.5")
    assert resolved.settings.query.port == 77


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[ingest]\nprot = 1", "ingest.prot is not a setting; the nearest is ingest.port"),
        ("[qeury]\nport = 1", "qeury.port is not a setting; the nearest is query.port"),
        ("flush_bytes = 1", "flush_bytes is not a setting; the nearest is write.flush_bytes"),
        ("zzz = 1", "zzz is not a setting"),
        ("ingest = 1", "ingest is not a setting"),
        ("[zzz]", "zzz is not a setting"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path, text: str, nearest: str) -> None:
    """Lost: a slip of the pen leaves a default in force, silently."""
    assert nearest in refusal(config=write(tmp_path, text))


def test_an_unknown_variable_is_refused_but_the_clients_are_not() -> None:
    """Lost: a misspelt variable has no effect, or the client's own variables stop the server."""
    assert "AGENTTRACE_INGEST__PORT" in refusal(environ={"AGENTTRACE_INGEST__PROT": "1"})
    names = ("API", "API_KEY", "ENDPOINT", "CORPORA")
    assert resolve(environ={f"AGENTTRACE_{name}": "x" for name in names}).origins == {}


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"AGENTTRACE_INGEST__PORT": "x"}, ["ingest.port = 'x'", "AGENTTRACE_INGEST__PORT", "integer"]),
        ({"AGENTTRACE_QUERY__PORT": "70000"}, ["query.port = '70000'", "65535"]),
        ({"AGENTTRACE_WRITE__FLUSH_AGE": "5 parsecs"}, ["write.flush_age", "parsecs", "ms, s, m"]),
        ({"AGENTTRACE_WRITE__FLUSH_BYTES": "many"}, ["write.flush_bytes", "64MiB"]),
        ({"AGENTTRACE_QUEUE": "kafka"}, ["queue = 'kafka'", "log:PATH"]),
        ({"AGENTTRACE_LOG__LEVEL": "loud"}, ["log.level", "'debug'"]),
        ({"AGENTTRACE_AUTH__KEYS": "[{]"}, ["AGENTTRACE_AUTH__KEYS", "JSON"]),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(environ: dict[str, str], parts: list[str]) -> None:
    """Lost: an operator reads the source to find out which value was wrong."""
    message = refusal(environ=environ)
    assert all(part in message for part in parts), message


def test_secrets_are_not_in_errors() -> None:
    """Lost: a key pasted where its hash belongs, or a database password, ends up in a log."""
    keys = '[{"project": "p", "sha256": "at_p_topsecret"}]'
    assert "topsecret" not in refusal(environ={"AGENTTRACE_AUTH__KEYS": keys})
    assert "topsecret" not in refusal(environ={"AGENTTRACE_METADATA": "Postgres://me:topsecret@db/x"})


def test_others_are_let_in_only_with_keys() -> None:
    """Lost: a server on a public address that anybody may write to and read."""
    message = refusal(options={"query.host": "0.0.0.0"})
    assert "query.host" in message
    assert "agenttrace key new" in message
    keys = f'[{{"project": "p", "sha256": "{KEY}"}}]'
    resolve(environ={"AGENTTRACE_AUTH__KEYS": keys}, options={"query.host": "0.0.0.0", "ingest.host": "::"})


def test_backends_lie_in_the_data_folder_unless_chosen(tmp_path: Path) -> None:
    """Lost: all data in one folder."""
    settings = resolve(environ={"AGENTTRACE_STORAGE": "file:/elsewhere"}, options={"data": tmp_path}).settings
    assert settings.queue == f"log:{tmp_path}/log"
    assert settings.metadata == f"sqlite:{tmp_path}/catalog.sqlite"
    assert settings.storage == "file:/elsewhere"


def test_settings_survive_the_way_to_a_child_process(tmp_path: Path) -> None:
    """Lost: a child that runs with other settings than its supervisor was given."""
    environ = {"AGENTTRACE_WRITE__FLUSH_AGE": "250ms", "AGENTTRACE_WRITE__FLUSH_BYTES": "1.5MiB"}
    settings = resolve(environ=environ, options={"data": tmp_path}).settings
    assert (settings.write.flush_age, settings.write.flush_bytes) == (0.25, 1_572_864)
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


@given(st.text(min_size=1, max_size=40))
def test_any_variable_either_is_a_setting_or_is_refused_by_name(name: str) -> None:
    """Lost: a crash instead of a message on a strange environment."""
    variable = f"AGENTTRACE_{name}"
    try:
        resolve(environ={variable: "1"})
    except ConfigurationError as error:
        assert name in str(error) or "=" in str(error) or "AUTH" in name  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model = 'm', input = 1", "prices.own.0.output"),
        ("model = 'm', input = -1, output = 1", "prices.own.0.input"),
        ("model = 'm', input = 'dear', output = 1", "prices.own.0.input"),
        ("model = 'm', input = nan, output = 1", "prices.own.0.input"),
        ("model = 'm', input = 1, output = 1, cached = 1", "prices.own.0.cached"),
        ("model = 'm', input = 1, output = 1, from = 'soon'", "prices.own.0.from"),
        ("model = '', input = 1, output = 1", "prices.own.0.model"),
    ],
)
def test_a_wrong_price_is_named_to_its_part(tmp_path: Path, text: str, complaint: str) -> None:
    """Lost: months of costs computed from a price that nobody meant."""
    assert complaint in refusal(config=write(tmp_path, f"[prices]\nown = [{{{text}}}]"))


def test_prices_as_written_reach_the_writer(tmp_path: Path) -> None:
    """Lost: a contract's price, or the day from which it holds."""
    text = "[[prices.own]]\nmodel = 'gpt-*'\nfrom = 2026-01-01\ninput = 0.1\noutput = 1\ncache_read = 0.000001\n"
    given = resolve(config=write(tmp_path, text), environ={}).settings
    settings = Settings.model_validate(given.model_dump(mode="json"))  # as a supervisor hands them to its children
    assert pricing_of(settings)._own == (
        OwnPrice("gpt-*", Decimal("0.1"), Decimal(1), since_ns=1_767_225_600 * 10**9, cache_read=Decimal("0.000001")),
    )
