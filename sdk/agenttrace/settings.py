"""What an application can choose, by argument or environment. Arguments win, then ``AGENTTRACE_*``, then ``OTEL_*``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

Live = Literal["agents", "all", "none"]
Redact = Callable[[str, str], "str | None"]
"""Takes an attribute's key and its text, and returns the text to send instead; None sends nothing."""

_log = logging.getLogger("agenttrace")

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
_LIVE: Final[tuple[Live, ...]] = ("agents", "all", "none")
_NO: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How spans are made and sent.

    Attributes:
        endpoint: base URL of an OTLP/HTTP receiver; ``/v1/traces`` and ``/v1/logs`` are added.
        traces_url: where spans go, in full.
        logs_url: where scores go, in full.
        headers: sent with every request; the key is among them.
        gzip: whether requests are compressed.
        certificate: file of the authorities that the receiver's certificate is checked against; else the usual ones.
        client_certificate: file of the certificate to show the receiver, and file of its key if that is another.
        timeout_s: of one request.
        capture_content: whether inputs, outputs and messages are recorded.
        redact: is given every text of content, exceptions among them, before it leaves the process.
        max_content_chars: longest text of one attribute; what is beyond is cut off, and said to be.
        live: which spans are also sent while they run.
        propagate: whether session, user and tags also travel to other services, as W3C baggage.
        max_queue_spans: spans that wait to be sent, at the most; more are dropped and counted.
        max_queue_bytes: the same in bytes.
        max_request_bytes: a larger request is split.
        interval_s: the longest that a span waits before it is sent.
        exit_timeout_s: how long the end of the process waits for what is not sent yet.
    """

    endpoint: str = DEFAULT_ENDPOINT
    traces_url: str = f"{DEFAULT_ENDPOINT}/v1/traces"
    logs_url: str = f"{DEFAULT_ENDPOINT}/v1/logs"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | tuple[str, str] | None = None
    timeout_s: float = 10.0
    capture_content: bool = True
    redact: Redact | None = None
    max_content_chars: int = 1_000_000
    live: Live = "agents"
    propagate: bool = False
    max_queue_spans: int = 65_536
    max_queue_bytes: int = 64 << 20
    max_request_bytes: int = 4 << 20
    interval_s: float = 1.0
    exit_timeout_s: float = 5.0


def resolve(
    *,
    endpoint: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    capture_content: bool | None = None,
    redact: Redact | None = None,
    live: Live | None = None,
    propagate: bool | None = None,
    **bounds: Any,
) -> Settings:
    """Return the settings that arguments and environment give together.

    A variable of OpenTelemetry with a value that it cannot have is told in the log and left out, as its specification
    wants it: it may be meant for another exporter. One of ours is an error.

    Variables: ``AGENTTRACE_ENDPOINT``, ``AGENTTRACE_API_KEY``, ``AGENTTRACE_CAPTURE_CONTENT``, ``AGENTTRACE_LIVE``,
    ``AGENTTRACE_PROPAGATE``; ``OTEL_EXPORTER_OTLP_[TRACES_|LOGS_]{ENDPOINT,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,
    CLIENT_CERTIFICATE,CLIENT_KEY}`` and ``OTEL_BSP_SCHEDULE_DELAY``, ``OTEL_BSP_MAX_QUEUE_SIZE`` as OpenTelemetry
    defines them.

    Raises:
        ValueError: a value is none that the setting can have; the message names both.
    """
    ours = endpoint or os.environ.get("AGENTTRACE_ENDPOINT")
    others = None if ours else _url_of_others("OTEL_EXPORTER_OTLP_ENDPOINT")
    traces = None if ours else _url_of_others("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    logs = None if ours else _url_of_others("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
    base = _url("endpoint", (ours or others or DEFAULT_ENDPOINT).rstrip("/").removesuffix("/v1/traces"))
    traces_url = traces or f"{base}/v1/traces"
    if (others or traces) and (_otlp("PROTOCOL") or "").strip().lower() == "grpc":
        _log.warning("AgentTrace's SDK sends OTLP over HTTP, never over gRPC: to %s", traces_url)
    to_agenttrace = ours is not None or not (others or traces)
    options: dict[str, Any] = {
        "endpoint": base,
        "traces_url": traces_url,
        "logs_url": logs or f"{base}/v1/logs",
        "headers": _headers(headers, api_key),
        "gzip": _compresses(traces_url),
        "certificate": _otlp("CERTIFICATE"),
        "client_certificate": _client_certificate(),
        "capture_content": _flag(capture_content, "AGENTTRACE_CAPTURE_CONTENT", default=True),
        "redact": redact,
        "live": _live(live, to_agenttrace=to_agenttrace),
        "propagate": _flag(propagate, "AGENTTRACE_PROPAGATE", default=False),
        **_numbers(bounds),
    }
    return Settings(**options)


def _url(name: str, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError(f"{name} = {text!r}: wanted is a URL such as {DEFAULT_ENDPOINT}")
    return text


def _url_of_others(variable: str) -> str | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        return _url(variable, text)
    except ValueError as error:  # such as "localhost:4317", which a gRPC exporter takes
        _log.warning("%s; it is left out", error)
        return None


def _client_certificate() -> str | tuple[str, str] | None:
    certificate, key = _otlp("CLIENT_CERTIFICATE"), _otlp("CLIENT_KEY")
    return (certificate, key) if certificate and key else certificate


def _headers(given: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        pairs = (pair.partition("=") for pair in os.environ.get(name, "").split(","))
        headers |= {key.strip().lower(): unquote(value.strip()) for key, found, value in pairs if found and key.strip()}
    headers |= {key.lower(): value for key, value in (given or {}).items()}
    key = api_key or os.environ.get("AGENTTRACE_API_KEY")
    if key:
        headers["authorization"] = f"Bearer {key}"
    return headers


def _compresses(url: str) -> bool:
    wanted = _otlp("COMPRESSION")
    if wanted is not None:
        return wanted.strip().lower() == "gzip"
    # On one machine the network costs nothing, and the processor does.
    return urlsplit(url).hostname not in {"127.0.0.1", "::1", "localhost"}


def _live(given: str | None, *, to_agenttrace: bool) -> Live:
    text = given or os.environ.get("AGENTTRACE_LIVE") or ("agents" if to_agenttrace else "none")
    for live in _LIVE:
        if live == text:
            return live
    raise ValueError(f"live = {text!r}: wanted is one of {', '.join(_LIVE)}")


def _flag(given: bool | None, variable: str, *, default: bool) -> bool:
    if given is not None:
        return given
    text = os.environ.get(variable, "").strip().lower()
    return text not in _NO if text else default


def _otlp(name: str) -> str | None:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = given.keys() - _BOUNDS
    if unknown:
        raise ValueError(f"there is no setting {min(unknown)!r}; there are {', '.join(sorted(_BOUNDS))}")
    found: dict[str, Any] = {}
    for name, variable, unit in (
        # OTLP's timeout is in seconds in the Python SDK; the batch processor's delay in milliseconds.
        ("timeout_s", _otlp("TIMEOUT"), 1.0),
        ("interval_s", os.environ.get("OTEL_BSP_SCHEDULE_DELAY"), 1e-3),
        ("max_queue_spans", os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE"), 1),
    ):
        if variable:
            try:
                found[name] = _number(name, variable) * unit
            except ValueError as error:
                _log.warning("%s; it is left out, as its variable is OpenTelemetry's", error)
    found |= {name: _number(name, value) for name, value in given.items() if value is not None}
    return {name: int(value) if name.startswith("max_") else value for name, value in found.items()}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not number > 0:
        raise ValueError(f"{name} = {value!r}: wanted is a number above 0")
    return number


_BOUNDS: Final = frozenset(
    {"timeout_s", "max_content_chars", "max_queue_spans", "max_queue_bytes", "max_request_bytes", "interval_s",
     "exit_timeout_s"}
)  # fmt: skip
