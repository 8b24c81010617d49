"""The client of one bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

from agenttrace_adapters.s3.failures import Failure, translation_at_open
from agenttrace_adapters.s3.options import S3Options
from agenttrace_adapters.s3.requests import Requests
from agenttrace_core.errors import ConfigurationError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_ANY_REGION = "us-east-1"
"""What servers that are not Amazon's take for their region, if they are told no other."""

_CONNECT_TIMEOUT_S = 3.0
_OPEN_FOR_S = 10.0
_KEPT_ALIVE_S = 12.0
_ABORT_S = 5.0

_LOADER = Loader(include_default_search_paths=True)
"""What botocore knows of services, read from its files but once: a session of its own takes 0.1 s of CPU for it."""


class Connection:
    """An open client, and how requests are sent by it.

    Attributes:
        client: of aiobotocore. It tries nothing twice.
        requests: tries again.
        endpoint: URL of the server.
    """

    def __init__(self, client: S3Client, options: S3Options) -> None:
        self.client = client
        client.meta.events.register_last("before-call.s3", _send_at_once)
        self.endpoint = client.meta.endpoint_url
        self.requests = Requests(
            self.endpoint,
            connections=options.connections,
            timeout_s=options.timeout_s,
            retry_for_s=options.retry_for_s,
        )

    @classmethod
    async def open(cls, options: S3Options, stack: AsyncExitStack) -> Connection:
        """Make the client, which ``stack`` closes, and see whether it can list the bucket.

        Raises:
            ConfigurationError: there is no such bucket, or the credentials are none or wrong.
            UnavailableError: the server does not answer.
        """
        try:
            client = await _client(options, stack)
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"storage: bucket {options.bucket!r}: {error}") from error
        connection = cls(client, options)
        asking = Requests(connection.endpoint, connections=1, timeout_s=options.timeout_s, retry_for_s=_OPEN_FOR_S)

        async def ask() -> None:
            await client.list_objects_v2(Bucket=options.bucket, Prefix=options.prefix, MaxKeys=1)

        try:
            await asking.send(f"listing bucket {options.bucket!r}", ask)
        except Failure as error:
            raise translation_at_open(error, options.bucket, connection.endpoint) from error
        return connection

    async def abort(self, upload: Mapping[str, Any]) -> None:
        """Give up an upload in parts, also where the task is being cancelled. Failures are not told."""
        with anyio.move_on_after(_ABORT_S, shield=True), suppress(*Failure):
            await self.client.abort_multipart_upload(**upload)


async def _client(options: S3Options, stack: AsyncExitStack) -> S3Client:
    session = AioSession(profile=options.profile)
    session.register_component("data_loader", _LOADER)
    if options.path_style is not None:
        return await _with_style("path" if options.path_style else "virtual", session, options, stack)
    # Few servers but Amazon's have a name in DNS for each of their buckets.
    named = options.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if named and not is_amazon(named):
        return await _with_style("path", session, options, stack)
    client = await _with_style("auto", session, options, stack)
    is_named_elsewhere = not is_amazon(client.meta.endpoint_url)  # by a profile
    return await _with_style("path", session, options, stack) if is_named_elsewhere else client


async def _with_style(style: str, session: AioSession, options: S3Options, stack: AsyncExitStack) -> S3Client:
    # botocore itself knows AWS_DEFAULT_REGION alone.
    region = options.region or os.environ.get("AWS_REGION") or session.get_config_variable("region") or _ANY_REGION
    return await stack.enter_async_context(
        session.create_client(
            "s3",
            region_name=region,
            endpoint_url=options.endpoint,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            config=AioConfig(
                connector_args={"keepalive_timeout": _KEPT_ALIVE_S},
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=options.timeout_s,
                max_pool_connections=options.connections,
                retries={"total_max_attempts": 1, "mode": "standard"},
                signature_version="s3v4",
                s3={"addressing_style": style},
                # Not every server takes checksums in trailers. Where it may be asked for, one goes in a header.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    )


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Do not ask whether a body may come: that takes a round trip, and no body is long enough to be worth it."""
    params["headers"].pop("Expect", None)


def is_amazon(endpoint: str) -> bool:
    """Whether a server is Amazon's own."""
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
