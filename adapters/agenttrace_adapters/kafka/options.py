"""The URL of a Kafka queue: which brokers, which topic, and how to talk to them."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from agenttrace_core.errors import ConfigurationError, InvalidInputError
from agenttrace_core.model.principal import check_project
from agenttrace_core.registry import without_password

DEFAULT_PORT = 9092
DEFAULT_PARTITIONS = 4
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSIONS = ("zstd", "gzip", "lz4", "snappy", "none")
_TRIMS = ("auto", "always", "never")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """What a URL says. The password is in no text that is made of it."""

    servers: tuple[Address, ...]
    topic: str
    partitions: int | None = None
    """Of a topic that is made. None: ``DEFAULT_PARTITIONS``; a topic that is there has as many as it has."""
    replication: int | None = None
    """Of a topic that is made. None: 3, or as many brokers as there are."""
    max_message_bytes: int = 32 << 20
    """Of a topic that is made: ``max.message.bytes``."""
    default_project: str = "default"
    """Of records without a header that says it."""
    compression: str = "zstd"
    linger_ms: int = 0
    """How long the first record of a batch waits for others. While a batch is under way, others collect anyway."""
    timeout_ms: int = 700
    """An append fails once its partition has acknowledged nothing for so long."""
    trim: str = "auto"
    """Whether what was written is deleted from the topic. auto: if the topic itself says to keep everything."""
    group: str = "agenttrace"
    """Under which Kafka is told how far the topic is written, for tools that show lag."""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    @classmethod
    def of(cls, url: str) -> KafkaOptions:
        """Read ``kafka://[user:password@]host:port[,host:port]/topic?option=value``.

        Raises:
            ConfigurationError: something in it is wrong; the message shows what would be right, and no password.
        """
        rest, _, query = url.removeprefix("kafka://").partition("?")
        place, slash, topic = rest.partition("/")
        userinfo, at, hosts = place.rpartition("@")
        if not url.startswith("kafka://") or not hosts or not slash:
            raise _wrong(url, "write kafka://HOST:9092/TOPIC, several brokers with commas between them")
        if "@" in topic + query and not _TOPIC.fullmatch(topic):
            # What follows an unescaped "/" or "?" of a password would be shown as a topic's name.
            raise _wrong(url, "signs such as '/', '?' and '#' of a password are percent-encoded: %2F, %3F, %23")
        if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
            raise _wrong(url, f"{topic!r} is no name of a topic: letters, digits, '.', '_' and '-', at most 249")
        values = _parse_options(url, query)
        servers = tuple(_address(url, host) for host in hosts.split(","))
        return _with_credentials(cls(servers, topic, **values), url, userinfo if at else None, values)

    @property
    def uses_sasl(self) -> bool:
        """Whether brokers ask for a name and a password."""
        return self.security_protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what a connection needs for TLS, or None where it has none.

        Raises:
            ConfigurationError: a file cannot be read, or holds no such thing.
        """
        if not self.security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert is not None:
                context.load_cert_chain(self.tls_cert, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(f for f in (self.tls_ca, self.tls_cert, self.tls_key) if f)
            raise ConfigurationError(f"queue: TLS cannot be set up with {files}: {error}") from error
        return context


def _with_credentials(
    options: KafkaOptions, url: str, userinfo: str | None, given: Mapping[str, object]
) -> KafkaOptions:
    protocol = options.security_protocol
    if "security_protocol" not in given:
        tls = options.tls_ca or options.tls_cert
        protocol = "SASL_SSL" if userinfo is not None else "SSL" if tls else "PLAINTEXT"
    if options.tls_key and not options.tls_cert:
        raise _wrong(url, "tls_key goes with tls_cert")
    if not protocol.startswith("SASL_"):
        if userinfo is not None:
            raise _wrong(url, f"a user is of no use with security_protocol={protocol}: SASL_SSL or SASL_PLAINTEXT")
        return replace(options, security_protocol=protocol)
    username, _, password = (userinfo or "").partition(":")
    username = unquote(username) or os.environ.get("KAFKA_USERNAME", "")
    password = unquote(password) or os.environ.get("KAFKA_PASSWORD", "")
    if not username or not password:
        raise _wrong(
            url, "a user and a password are needed: in KAFKA_USERNAME and KAFKA_PASSWORD, or before an @ in the URL"
        )
    return replace(options, security_protocol=protocol, username=username, password=password)


def _parse_options(url: str, query: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise _wrong(url, f"no option {name!r}; known are {', '.join(_OPTIONS)}")
        try:
            values[name] = _OPTIONS[name](value)
        except ValueError as error:
            raise _wrong(url, f"{name} is {error}, not {value!r}") from error
    return values


def _address(url: str, text: str) -> Address:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]\s]+))(?::(\d{1,5}))?", text)
    port = int(found[3] or DEFAULT_PORT) if found else 0
    if not found or not 0 < port < 1 << 16:
        raise _wrong(url, f"{text!r} is no address of a broker: write HOST:9092")
    return Address(found[1] or found[2], port)


def _wrong(url: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"queue = {without_password(url)!r}: {what}")


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ValueError(f"a number from {least} to {most}")
        return int(value)

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return parse


def _text(value: str) -> str:
    if not value:
        raise ValueError("a text")
    return value


def _project(value: str) -> str:
    try:
        return check_project(value)
    except InvalidInputError as error:
        raise ValueError("1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit") from error


_OPTIONS: dict[str, Callable[[str], object]] = {
    "partitions": _number(1, 10_000),
    "replication": _number(1, 100),
    "max_message_bytes": _number(1 << 20, 1 << 30),
    "default_project": _project,
    "compression": _one_of(*_COMPRESSIONS),
    "linger_ms": _number(0, 1000),
    "timeout_ms": _number(50, 60_000),
    "trim": _one_of(*_TRIMS),
    "group": _text,
    "security_protocol": _one_of(*_SECURITY),
    "sasl_mechanism": _one_of(*_MECHANISMS),
    "tls_ca": _text,
    "tls_cert": _text,
    "tls_key": _text,
}
