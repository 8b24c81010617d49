"""Puts objects whole or in parts, so that a key is written once whatever fails half-way."""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import xxhash
from anyio import to_thread
from botocore.exceptions import ClientError

from agenttrace_adapters.s3.connection import Connection
from agenttrace_adapters.s3.failures import Failure, code_of, status_of, summary
from agenttrace_adapters.s3.options import S3Options
from agenttrace_core.errors import AlreadyExistsError, UnavailableError

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

_log = logging.getLogger(__name__)

DIGEST = "agenttrace-xxh3-128"
"""The name of the metadata in which an object's checksum is, by which a repeated put is known."""

_MOST_PARTS = 10_000
_PARTS_AT_ONCE = 4
_TRIES = 5
_INLINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """What is put: buffers, their length in all, and their checksum (xxh3-128, hex)."""

    views: Sequence[memoryview]
    size: int
    digest: str

    @classmethod
    async def of(cls, data: Sequence[memoryview | bytes]) -> Body:
        """Measure what is to be put."""
        views = [memoryview(buffer).cast("B") for buffer in data]
        size = sum(map(len, views))
        digest = _digest(views) if size <= _INLINE_BYTES else await to_thread.run_sync(_digest, views)
        return cls(views, size, digest)

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self.views)

    def parts(self, part_bytes: int) -> Iterator[bytes]:
        """Yield it in parts of that length, each made when it is asked for."""
        piece: list[memoryview] = []
        missing = part_bytes
        for view in self.views:
            at = 0
            while at < len(view):
                piece.append(view[at : at + missing])
                at += len(piece[-1])
                missing -= len(piece[-1])
                if missing == 0:
                    yield b"".join(piece)
                    piece, missing = [], part_bytes
        if piece:
            yield b"".join(piece)


def _digest(views: Sequence[memoryview]) -> str:
    digest = xxhash.xxh3_128()
    for view in views:
        digest.update(view)
    return digest.hexdigest()


class Uploader:
    """Puts objects into a bucket.

    Args:
        connection: to the server.
        options: where and how.
    """

    def __init__(self, connection: Connection, options: S3Options) -> None:
        self._connection, self._options = connection, options
        self._is_conditional = True

    async def put(self, name: str, body: Body) -> None:
        """Store a body under a name of the bucket, if there is nothing, or the same.

        Raises:
            AlreadyExistsError: the name holds other bytes.
            ClientError, BotoCoreError, UnavailableError: it could not be stored.
        """
        if body.size > self._options.part_bytes and await self._holds(name, body):
            return
        for _ in range(_TRIES):
            if await self._put_new(name, body) or await self._holds(name, body):
                return
        raise UnavailableError(f"storage: {name!r} keeps being deleted while it is put")

    async def _put_new(self, name: str, body: Body) -> bool:
        """Store, and return True; False if there is something by that name."""
        if not self._is_conditional and await self._holds(name, body):
            return True
        try:
            if body.size > self._options.part_bytes:
                return await self._put_in_parts(name, body)
            return await self._put_whole(name, body)
        except ClientError as error:
            if status_of(error) == 412:
                return False
            if not self._is_conditional or code_of(error) != "NotImplemented":
                raise
            # A server without conditional writes: from now on look first, and put then.
            self._is_conditional = False
            return await self._put_new(name, body)

    async def _holds(self, name: str, body: Body) -> bool:
        """Whether there is an object of that name; it is this one then.

        Raises:
            AlreadyExistsError: it holds other bytes.
        """
        client, bucket = self._connection.client, self._options.bucket
        try:
            head = await self._connection.requests.send(
                f"looking for {name!r}", lambda: client.head_object(Bucket=bucket, Key=name)
            )
        except ClientError as error:
            if status_of(error) == 404:
                return False
            raise
        digest = head["Metadata"].get(DIGEST)
        if head["ContentLength"] == body.size and digest is None:
            digest = await self._digest_of(name)
        if head["ContentLength"] != body.size or digest != body.digest:
            raise AlreadyExistsError(f"object {name!r} exists and holds other bytes")
        return True

    async def _digest_of(self, name: str) -> str:
        """Read an object that somebody else put, who did not write its checksum down."""
        client, bucket = self._connection.client, self._options.bucket

        async def read() -> str:
            digest = xxhash.xxh3_128()
            answer = await client.get_object(Bucket=bucket, Key=name)
            async with answer["Body"] as stream:
                while piece := await stream.read(_INLINE_BYTES):
                    digest.update(piece)
            return digest.hexdigest()

        return await self._connection.requests.send(f"reading {name!r}", read)

    async def _put_whole(self, name: str, body: Body) -> bool:
        client, whole = self._connection.client, body.whole()
        given = {**self._target(name), **self._kept(body), **self._condition(), **self._checksum(whole)}
        await self._connection.requests.send(
            f"putting {name!r}", lambda: client.put_object(Body=whole, **given), size=body.size
        )
        return True

    async def _put_in_parts(self, name: str, body: Body) -> bool:
        client = self._connection.client
        given = {**self._target(name), **self._kept(body)}
        if self._options.checksums:
            given["ChecksumAlgorithm"] = "CRC32"
        begun = await self._connection.requests.send(
            f"putting {name!r}", lambda: client.create_multipart_upload(**given)
        )
        upload: Mapping[str, Any] = {**self._target(name), "UploadId": begun["UploadId"]}
        is_complete = False
        try:
            await self._complete(name, body, upload, await self._put_parts(name, body, upload))
            is_complete = True
        finally:
            if not is_complete:
                await self._connection.abort(upload)
        return True

    async def _put_parts(self, name: str, body: Body, upload: Mapping[str, Any]) -> list[CompletedPartTypeDef]:
        part_bytes = max(self._options.part_bytes, -(-body.size // _MOST_PARTS))
        put: list[CompletedPartTypeDef] = []
        numbered = enumerate(body.parts(part_bytes), 1)

        async def put_some() -> None:
            # Parts are taken from one iterator by turns: there are never more of them in memory than workers.
            for number, part in numbered:
                put.append(await self._put_part(name, number, part, upload))

        try:
            async with anyio.create_task_group() as workers:
                for _ in range(_PARTS_AT_ONCE):
                    workers.start_soon(put_some)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return sorted(put, key=lambda part: part.get("PartNumber", 0))

    async def _put_part(self, name: str, number: int, part: bytes, upload: Mapping[str, Any]) -> CompletedPartTypeDef:
        client, checksum = self._connection.client, self._checksum(part)
        answer = await self._connection.requests.send(
            f"putting part {number} of {name!r}",
            lambda: client.upload_part(PartNumber=number, Body=part, **upload, **checksum),
            size=len(part),
        )
        completed: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        if checksum:
            completed["ChecksumCRC32"] = checksum["ChecksumCRC32"]
        return completed

    async def _complete(
        self, name: str, body: Body, upload: Mapping[str, Any], parts: Sequence[CompletedPartTypeDef]
    ) -> None:
        client, condition = self._connection.client, self._condition()
        try:
            await self._connection.requests.send(
                f"completing {name!r}",
                lambda: client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **condition),
                size=body.size,
            )
        except ClientError as error:
            # A try that seemed to fail may have completed the upload, which is not there any more then.
            if code_of(error) != "NoSuchUpload" or not await self._holds(name, body):
                raise

    async def abandon(self, *, older_than_s: float) -> None:
        """Abort uploads that were begun so long ago: whoever began them died. Failures are logged alone.

        Their parts are in no list, and are paid for.
        """
        client, bucket, prefix = self._connection.client, self._options.bucket, self._options.prefix
        try:
            found = await client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
            for upload in found.get("Uploads", ()):
                begun, key, upload_id = upload.get("Initiated"), upload.get("Key"), upload.get("UploadId")
                if begun and key and upload_id and begun.timestamp() < time.time() - older_than_s:
                    await client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except Failure as error:
            _log.info("uploads that were never ended could not be aborted", extra={"error": summary(error)})

    def _target(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._options.bucket, "Key": name}

    def _kept(self, body: Body) -> dict[str, Any]:
        """Return what the server is to keep beside the bytes, and how it is to keep them."""
        kept: dict[str, Any] = {"Metadata": {DIGEST: body.digest}, "ContentType": "application/octet-stream"}
        kept |= self._options.encryption()
        if self._options.storage_class is not None:
            kept["StorageClass"] = self._options.storage_class
        return kept

    def _condition(self) -> dict[str, Any]:
        return {"IfNoneMatch": "*"} if self._is_conditional else {}

    def _checksum(self, body: bytes) -> dict[str, Any]:
        if not self._options.checksums:
            return {}
        return {"ChecksumCRC32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}
