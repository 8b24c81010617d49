"""What the URL of a bucket can say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from agenttrace_core.errors import ConfigurationError, InvalidInputError
from agenttrace_core.model.keys import check_key

EXAMPLE = "s3://bucket/prefix?endpoint=https://minio.example:9000&region=us-east-1"

_LEAST_PART = 5 << 20
"""No part of an upload but the last may be shorter; see "Amazon S3 multipart upload limits"."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where objects are, and how they are written. What is None is found as botocore finds it, or left to the server.

    Attributes:
        bucket: it must exist.
        prefix: what all keys begin with: empty, or segments that each end in ``/``.
        endpoint: of a server that is not Amazon's.
        region: which is part of every signature.
        profile: of the files of credentials and configuration that ``AWS_PROFILE`` would name.
        access_key: with ``secret_key``, where neither the environment nor a profile has them.
        secret_key: never shown.
        path_style: whether the bucket stands in the path, not in the host's name; by default, not at Amazon.
        sse: server-side encryption, ``AES256`` or ``aws:kms``.
        kms_key_id: of the key for ``aws:kms``.
        storage_class: of what is put.
        checksums: whether a CRC-32 goes with what is put, which servers check and keep.
        part_bytes: what is longer is put in parts of that length, and got by ranges of it.
        connections: that are open at once.
        timeout_s: seconds without a byte after which a request is given up, and sent again.
        retry_for_s: seconds after which a request is not sent again.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    path_style: bool | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    checksums: bool = True
    part_bytes: int = 8 << 20
    connections: int = 32
    timeout_s: float = 10.0
    retry_for_s: float = 20.0

    @classmethod
    def from_url(cls, url: str) -> S3Options:
        """Read ``s3://bucket/prefix?option=value``; ``s3://KEY:SECRET@bucket`` gives credentials.

        Raises:
            ConfigurationError: the URL says anything else. The message holds no secret.
        """
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise _wrong("the URL cannot be read") from None
        user, _, host = parts.netloc.rpartition("@")
        if parts.scheme != "s3" or _BUCKET.fullmatch(host) is None or parts.fragment:
            raise _wrong("it names no bucket")
        access_key, _, secret_key = user.partition(":")
        if bool(access_key) != bool(secret_key):
            raise _wrong("of KEY:SECRET@ one is missing; a secret's '/' is written %2F")
        prefix = parts.path.strip("/")
        try:
            options = _options(dict(given))
            return cls(
                host,
                f"{check_key(prefix)}/" if prefix else "",
                access_key=unquote(access_key) or None,
                secret_key=unquote(secret_key) or None,
                **options,
            )
        except (ValueError, InvalidInputError) as error:
            raise _wrong(str(error)) from None

    def encryption(self) -> dict[str, str]:
        """Return how what is put is to be encrypted, in the words of the protocol."""
        asked = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in asked.items() if value is not None}


def _options(given: Mapping[str, str]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(_READERS))
    if unknown:
        raise ValueError(f"option {unknown[0]!r} is unknown; known are {', '.join(sorted(_READERS))}")
    options: dict[str, Any] = {}
    for name, text in given.items():
        field_name, read = _READERS[name]
        try:
            options[field_name] = read(text)
        except ValueError as error:
            raise ValueError(f"option {name}={text!r}: {error}") from None
    if "kms_key_id" in options and options.get("sse") != "aws:kms":
        raise ValueError("option kms_key_id: it goes with sse=aws:kms")
    return options


def _endpoint(text: str) -> str:
    if re.fullmatch(r"https?://[^/?#@\s]+/?", text) is None:
        raise ValueError("wanted is a URL such as http://127.0.0.1:9000, without a path or credentials")
    return text.rstrip("/")


def _said(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("wanted is true or false")
    return text == "true"


def _sse(text: str) -> str:
    if text not in ("AES256", "aws:kms"):
        raise ValueError("wanted is AES256 or aws:kms")
    return text


def _word(text: str) -> str:
    if re.fullmatch(r"[\x21-\x7e]+", text) is None:
        raise ValueError("wanted is a name")
    return text


def _class(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", text) is None:
        raise ValueError("wanted is a storage class such as STANDARD or STANDARD_IA")
    return text


def _at_least(least: float, unit: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        try:
            value = read(text)
        except ValueError:
            value = -1
        if not least <= value < 1e12:
            raise ValueError(f"wanted is a number of {unit}, at least {least}")
        return value

    return number


_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "endpoint": ("endpoint", _endpoint),
    "region": ("region", _word),
    "profile": ("profile", _word),
    "path_style": ("path_style", _said),
    "sse": ("sse", _sse),
    "kms_key_id": ("kms_key_id", _word),
    "storage_class": ("storage_class", _class),
    "checksums": ("checksums", _said),
    "part_bytes": ("part_bytes", _at_least(_LEAST_PART, "bytes", int)),
    "connections": ("connections", _at_least(1, "connections", int)),
    "timeout": ("timeout_s", _at_least(0.1, "seconds", float)),
    "retry_for": ("retry_for_s", _at_least(0, "seconds", float)),
}


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"storage = 's3:…': {what}; write it like {EXAMPLE!r}")
