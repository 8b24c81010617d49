"""If these fail, spans go elsewhere than the user said, or a mistake in a setting is found out by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenttrace import AgentTrace
from agenttrace.settings import resolve
from tests.unit.sdk.receiver import receiving

_VARIABLES = ("AGENTTRACE_", "OTEL_")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(_VARIABLES):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("arguments", "environment", "traces", "logs", "live"),
    [
        ({}, {}, "http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/logs", "agents"),
        ({"endpoint": "http://a:1/"}, {"AGENTTRACE_ENDPOINT": "http://b"}, "http://a:1/v1/traces",
         "http://a:1/v1/logs", "agents"),
        ({}, {"AGENTTRACE_ENDPOINT": "http://b", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, "http://b/v1/traces",
         "http://b/v1/logs", "agents"),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/x"}, "http://c/x/v1/traces", "http://c/x/v1/logs", "none"),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/t"}, "http://d/t", "http://127.0.0.1:4318/v1/logs",
         "none"),
        ({"live": "all"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, "http://c/v1/traces", "http://c/v1/logs", "all"),
    ],
)  # fmt: skip
def test_where_spans_go(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], environment: dict[str, str], traces: str, logs: str,
    live: str,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = resolve(**arguments)
    assert (settings.traces_url, settings.logs_url, settings.live) == (traces, logs, live)


def test_keys_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Team=red%20ones, a=b")
    monkeypatch.setenv("AGENTTRACE_API_KEY", "from-environment")
    assert resolve(headers={"A": "c"}).headers == {
        "x-team": "red ones", "a": "c", "authorization": "Bearer from-environment"
    }  # fmt: skip
    settings = resolve(api_key="at_secret")
    assert settings.headers["authorization"] == "Bearer at_secret"
    assert "at_secret" not in repr(settings)


def test_compression_follows_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not resolve(endpoint="http://localhost:4318").gzip
    assert resolve(endpoint="https://traces.example").gzip
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    assert not resolve(endpoint="https://traces.example").gzip


def test_opentelemetrys_bounds_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "250")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "99")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    settings = resolve()
    assert (settings.interval_s, settings.max_queue_spans, settings.timeout_s) == (0.25, 99, 3.0)


def test_opentelemetrys_switch_turns_everything_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with receiving() as receiver:
        tracer = AgentTrace(receiver.url)
        with tracer.span("a") as span:
            span.score("helpful", 1)
        assert tracer.flush(5)
        tracer.shutdown(2)
        assert receiver.requests == []


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ({"endpoint": "localhost:4318"}, {}, "endpoint = 'localhost:4318': wanted is a URL"),
        ({"live": "some"}, {}, "live = 'some': wanted is one of agents, all, none"),
        ({}, {"AGENTTRACE_LIVE": "x"}, "live = 'x'"),
        ({"interval_s": 0}, {}, "interval_s = 0: wanted is a number above 0"),
        ({"intervall_s": 1}, {}, "there is no setting 'intervall_s'; there are exit_timeout_s"),
    ],
)
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], environment: dict[str, str], told: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        resolve(**arguments)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "garbage,,=,"),
    ],
)
def test_what_is_meant_for_another_exporter_stops_no_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, value: str
) -> None:
    plain = resolve()
    monkeypatch.setenv(variable, value)
    assert resolve() == plain
    assert value in caplog.text or variable.endswith("HEADERS")


def test_certificates_are_those_of_opentelemetrys_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/me.pem")
    assert (resolve().certificate, resolve().client_certificate) == ("/ca.pem", "/me.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/me.key")
    assert resolve().client_certificate == ("/me.pem", "/me.key")


def test_a_netrc_does_not_replace_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with receiving() as receiver:
        tracer = AgentTrace(receiver.url, api_key="at_key", live="none")
        with tracer.span("a"):
            pass
        tracer.shutdown(5)
        assert receiver.requests[0][1]["authorization"] == "Bearer at_key"
