"""Gets objects and ranges of them, side by side where there are several."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from botocore.exceptions import ClientError

from agenttrace_adapters.s3.connection import Connection
from agenttrace_adapters.s3.failures import code_of, status_of
from agenttrace_adapters.s3.ranges import cuts, piece, requests_for
from agenttrace_core.errors import ArchivedError, InvalidInputError, NotFoundError


class Downloader:
    """Gets what is in a bucket, by the names there.

    Args:
        connection: to the server.
        bucket: of what.
        part_bytes: the most that one request asks for.
    """

    def __init__(self, connection: Connection, bucket: str, part_bytes: int) -> None:
        self._connection, self._bucket, self._part_bytes = connection, bucket, part_bytes

    async def whole(self, name: str) -> bytes:
        """Return an object.

        Raises:
            NotFoundError: there is none.
        """
        first, size = await self._range(name, 0, self._part_bytes)
        if size <= len(first):
            return first
        rest, _ = await self._side_by_side(name, list(cuts(len(first), size - len(first), self._part_bytes)))
        return b"".join([first, *rest])

    async def ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return ranges of an object, in the order asked, by as few requests as is quick.

        Raises:
            NotFoundError: there is no such object.
            InvalidInputError: a range leaves it.
        """
        if not ranges:
            return []
        if any(offset < 0 or length < 0 for offset, length in ranges):
            _check_within(ranges, await self._size(name))
        asked = requests_for(ranges, self._part_bytes)
        found, size = await self._side_by_side(name, asked) if asked else ([], await self._size(name))
        _check_within(ranges, size)
        got = {offset: body for (offset, _), body in zip(asked, found, strict=True)}
        return [piece(got, offset, length) for offset, length in ranges]

    async def _side_by_side(self, name: str, asked: Sequence[tuple[int, int]]) -> tuple[list[bytes], int]:
        """Return ranges, at least one, as far as the object has them, and the object's size."""
        found = [(b"", 0)] * len(asked)

        async def read(place: int) -> None:
            found[place] = await self._range(name, *asked[place])

        try:
            async with anyio.create_task_group() as tasks:
                for place in range(len(asked)):
                    tasks.start_soon(read, place)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [body for body, _ in found], found[0][1]

    async def _range(self, name: str, offset: int, length: int) -> tuple[bytes, int]:
        """Return a range as far as the object has it, and the object's size."""
        client, bucket = self._connection.client, self._bucket

        async def read() -> tuple[bytes, int]:
            answer = await client.get_object(Bucket=bucket, Key=name, Range=f"bytes={offset}-{offset + length - 1}")
            async with answer["Body"] as stream:
                body: bytes = await stream.read()
            told = answer.get("ContentRange", "").rpartition("/")[2]
            if not told:  # a server that knows no ranges answers with all there is
                return body[offset : offset + length], len(body)
            if len(body) != min(length, int(told) - offset):
                raise OSError(f"of {length} bytes came {len(body)}")
            return body, int(told)

        try:
            return await self._connection.requests.send(f"getting {name!r}", read, size=length)
        except ClientError as error:
            if is_missing(error):
                raise missing(name) from error
            if code_of(error) == "InvalidObjectState":
                raise archived(name) from error
            if status_of(error) != 416:
                raise
        return b"", await self._size(name)

    async def _size(self, name: str) -> int:
        client, bucket = self._connection.client, self._bucket
        try:
            head = await self._connection.requests.send(
                f"looking for {name!r}", lambda: client.head_object(Bucket=bucket, Key=name)
            )
        except ClientError as error:
            if is_missing(error):
                raise missing(name) from error
            raise
        return head["ContentLength"]


def is_missing(error: ClientError) -> bool:
    """Whether a server says that there is no such object."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


def archived(name: str) -> ArchivedError:
    """Return the error that says that an object has to be restored."""
    return ArchivedError(f"object {name!r} is archived: it has to be restored before it is read", key=name)


def missing(name: str) -> NotFoundError:
    """Return the error that says so."""
    return NotFoundError(f"there is no object {name!r}")


def _check_within(ranges: Sequence[tuple[int, int]], size: int) -> None:
    for offset, length in ranges:
        if offset < 0 or length < 0 or offset + length > size:
            raise InvalidInputError(f"range {offset}+{length} leaves the object of {size} bytes")
