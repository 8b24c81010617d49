"""Tiers as storage classes: an object is put into another by a copy onto itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
from botocore.exceptions import ClientError

from agenttrace_adapters.s3.connection import Connection
from agenttrace_adapters.s3.download import archived, is_missing, missing
from agenttrace_adapters.s3.failures import code_of
from agenttrace_adapters.s3.options import S3Options
from agenttrace_core.model.retention import ARCHIVES, Tier

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef, HeadObjectOutputTypeDef

CLASSES: Mapping[Tier, str] = {
    Tier.STANDARD: "STANDARD",
    Tier.INFREQUENT: "STANDARD_IA",
    Tier.GLACIER: "GLACIER",
    Tier.DEEP_ARCHIVE: "DEEP_ARCHIVE",
}
"""The storage class that an object of a tier is given."""

_TIERS: Mapping[str, Tier] = {
    **{name: tier for tier, name in CLASSES.items()},
    "ONEZONE_IA": Tier.INFREQUENT,
    "GLACIER_IR": Tier.INFREQUENT,
}
"""Of classes that are not here, objects are read at once, and as often as one likes."""

_MOST_COPIED_BYTES = 5 << 30
"""What is longer is copied in parts; see CopyObject."""

_PART_BYTES = 512 << 20
_PARTS_AT_ONCE = 4


class Tiers:
    """Moves objects of a bucket, by the names there.

    Args:
        connection: to the server.
        options: where, and how what is copied is encrypted.
    """

    def __init__(self, connection: Connection, options: S3Options) -> None:
        self._connection, self._options = connection, options

    async def tier(self, name: str) -> Tier:
        """Return where an object lies.

        Raises:
            NotFoundError: there is none.
        """
        return _tier_of(await self._head(name))

    async def move(self, name: str, tier: Tier) -> None:
        """Put an object into another tier.

        Raises:
            NotFoundError: there is none.
            ArchivedError: it has to be restored first.
        """
        head = await self._head(name)
        if _tier_of(head) is tier:
            return
        try:
            if head["ContentLength"] > _MOST_COPIED_BYTES:
                await self._copy_in_parts(name, head, tier)
            else:
                await self._copy(name, head, tier)
        except ClientError as error:
            raise _told(error, name) from error

    async def restore(self, name: str, *, days: int, is_urgent: bool) -> None:
        """Ask for an archived object; what is asked for already, or lies in no archive, is left as it is.

        Raises:
            NotFoundError: there is none.
        """
        head = await self._head(name)
        if _tier_of(head) not in ARCHIVES or head.get("Restore"):
            return
        client, bucket = self._connection.client, self._options.bucket
        try:
            await self._connection.requests.send(
                f"restoring {name!r}",
                lambda: client.restore_object(
                    Bucket=bucket,
                    Key=name,
                    RestoreRequest={
                        "Days": days,
                        "GlacierJobParameters": {"Tier": "Standard" if is_urgent else "Bulk"},
                    },
                ),
            )
        except ClientError as error:
            if code_of(error) != "RestoreAlreadyInProgress":
                raise _told(error, name) from error

    async def _head(self, name: str) -> HeadObjectOutputTypeDef:
        client, bucket = self._connection.client, self._options.bucket
        try:
            return await self._connection.requests.send(
                f"looking for {name!r}", lambda: client.head_object(Bucket=bucket, Key=name)
            )
        except ClientError as error:
            raise _told(error, name) from error

    async def _copy(self, name: str, head: HeadObjectOutputTypeDef, tier: Tier) -> None:
        client, given = self._connection.client, {**self._source(name, head), **self._kept(head, tier)}
        await self._connection.requests.send(
            f"moving {name!r}",
            lambda: client.copy_object(MetadataDirective="REPLACE", **given),
            size=head["ContentLength"],
        )

    async def _copy_in_parts(self, name: str, head: HeadObjectOutputTypeDef, tier: Tier) -> None:
        client = self._connection.client
        target: Mapping[str, Any] = {"Bucket": self._options.bucket, "Key": name}
        begun = await self._connection.requests.send(
            f"moving {name!r}", lambda: client.create_multipart_upload(**target, **self._kept(head, tier))
        )
        upload: Mapping[str, Any] = {**target, "UploadId": begun["UploadId"]}
        starts = iter(enumerate(range(0, head["ContentLength"], _PART_BYTES), 1))
        copied: list[CompletedPartTypeDef] = []

        async def copy_some() -> None:
            for number, at in starts:
                last = min(at + _PART_BYTES, head["ContentLength"]) - 1
                given = {**self._source(name, head), **upload, "CopySourceRange": f"bytes={at}-{last}"}
                answer = await self._connection.requests.send(
                    f"moving part {number} of {name!r}",
                    lambda given=given, number=number: client.upload_part_copy(PartNumber=number, **given),  # type: ignore[misc]
                    size=last - at,
                )
                copied.append({"PartNumber": number, "ETag": answer["CopyPartResult"].get("ETag", "")})

        is_complete = False
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(_PARTS_AT_ONCE):
                    tasks.start_soon(copy_some)
            parts = sorted(copied, key=lambda part: part.get("PartNumber", 0))
            await self._connection.requests.send(
                f"moving {name!r}",
                lambda: client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload),
                size=head["ContentLength"],
            )
            is_complete = True
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        finally:
            if not is_complete:
                await self._connection.abort(upload)

    def _source(self, name: str, head: HeadObjectOutputTypeDef) -> dict[str, Any]:
        """Return what is copied: the object as it was looked at, or none."""
        bucket = self._options.bucket
        return {
            "Bucket": bucket,
            "Key": name,
            "CopySource": {"Bucket": bucket, "Key": name},
            "CopySourceIfMatch": head["ETag"],
        }

    def _kept(self, head: HeadObjectOutputTypeDef, tier: Tier) -> dict[str, Any]:
        return {
            "Metadata": head["Metadata"],
            "ContentType": "application/octet-stream",
            "StorageClass": CLASSES[tier],
            **self._options.encryption(),
        }


def _tier_of(head: HeadObjectOutputTypeDef) -> Tier:
    return _TIERS.get(head.get("StorageClass", "STANDARD"), Tier.STANDARD)


def _told(error: ClientError, name: str) -> Exception:
    if is_missing(error):
        return missing(name)
    return archived(name) if code_of(error) == "InvalidObjectState" else error
