"""Make the bucket that the setting ``storage`` names, where it is not there yet. AgentTrace itself never makes one."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import parse_qs, unquote, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from agenttrace_server.settings_sources import resolve

_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


async def make_bucket(url: str) -> None:
    """Make the bucket of ``s3://KEY:SECRET@BUCKET/PREFIX?endpoint=…``.

    Raises:
        ClientError: the server will not have it.
    """
    parts = urlsplit(url)
    user, _, bucket = parts.netloc.rpartition("@")
    access_key, _, secret_key = user.partition(":")
    client = get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=parse_qs(parts.query)["endpoint"][0],
        aws_access_key_id=unquote(access_key),
        aws_secret_access_key=unquote(secret_key),
        config=AioConfig(s3={"addressing_style": "path"}),
    )
    async with client as s3:
        try:
            await s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                raise
            print(f"bucket {bucket}: there")
        else:
            print(f"bucket {bucket}: made")


if __name__ == "__main__":
    asyncio.run(make_bucket(resolve(environ=os.environ).settings.storage))
