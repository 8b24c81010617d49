"""What differs between S3 servers, and what an operator is told where something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import anyio
import pytest

from agenttrace_adapters.s3 import S3Storage
from agenttrace_core.errors import AlreadyExistsError, ConfigurationError, UnavailableError
from agenttrace_server.doctor_storage import storage_finding
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings
from tests.servers.s3 import ACCESS_KEY, KMS_KEY, SECRET_KEY, S3Bucket, S3Place

pytestmark = pytest.mark.anyio

_PART = 5 << 20
_LONG = b"0123456789abcdef" * (12 << 16)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["minio_bucket", "versitygw_bucket"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    bucket: S3Bucket = request.getfixturevalue(request.param)
    for name, value in bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    return bucket


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[S3Storage]:
    storage = S3Storage.from_url(url)
    try:
        await storage.open()
        yield storage
    finally:
        await storage.aclose()


async def _botocore(bucket: S3Bucket, call: str, **given: Any) -> dict[str, Any]:
    """Ask the server behind the adapter's back."""

    def ask() -> dict[str, Any]:
        with closing(bucket.place.client()) as client:
            answer: dict[str, Any] = getattr(client, call)(Bucket=bucket.name, **given)
            return answer

    return await anyio.to_thread.run_sync(ask)


async def test_parts(bucket: S3Bucket) -> None:
    """A merged file is longer than a request should be; put again, it is not sent again."""
    async with _opened(f"{bucket.url()}?part_bytes={_PART}") as storage:
        await storage.put("a", [_LONG[:7], _LONG[7:]])
        await storage.put("a", [_LONG])
        assert await storage.get("a") == _LONG
        ranges = [(0, 1), (_PART - 1, 2), (len(_LONG) - 1, 1), (0, len(_LONG)), (3, 0)]
        assert list(await storage.get_ranges("a", ranges)) == [_LONG[at : at + n] for at, n in ranges]
        with pytest.raises(AlreadyExistsError):
            await storage.put("a", [_LONG[:-1], b"!"])
    head = await _botocore(bucket, "head_object", Key="agenttrace/a")
    assert head["ETag"].endswith('-3"')
    assert head["Metadata"]["agenttrace-xxh3-128"]


async def test_an_object_that_somebody_copied_here(bucket: S3Bucket) -> None:
    """Tools that move a bucket leave metadata behind: the bytes themselves say then whether it is the same object."""
    await _botocore(bucket, "put_object", Key="agenttrace/a", Body=b"bytes")
    async with _opened(bucket.url()) as storage:
        await storage.put("a", [b"bytes"])
        with pytest.raises(AlreadyExistsError):
            await storage.put("a", [b"other"])


async def test_what_others_have_put_is_not_listed(bucket: S3Bucket) -> None:
    """Consoles make markers of folders, whose keys are none of ours."""
    await _botocore(bucket, "put_object", Key="agenttrace/folder/", Body=b"")
    await _botocore(bucket, "put_object", Key="agenttrace/a b", Body=b"")
    await _botocore(bucket, "put_object", Key="agenttrac", Body=b"")
    async with _opened(bucket.url()) as storage:
        await storage.put("a", [b"bytes"])
        assert [info.key async for info in storage.list()] == ["a"]


async def test_without_a_prefix_and_with_all_options(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no variables writes all of it into the URL."""
    for name in bucket.place.environment():
        monkeypatch.delenv(name)
    url = (
        f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket.name}?endpoint={bucket.place.endpoint}&region=us-east-1&path_style=true"
        f"&storage_class=STANDARD&checksums=false&part_bytes={_PART}&connections=2&timeout=5&retry_for=5"
    )
    async with _opened(url) as storage:
        await storage.put("a/b", [b"bytes"])
        await storage.put("a/c", [_LONG])
        assert await storage.get("a/c") == _LONG
    assert (await _botocore(bucket, "get_object", Key="a/b"))["ContentLength"] == 5


@pytest.mark.parametrize("option", ["sse=AES256", f"sse=aws:kms&kms_key_id={KMS_KEY}"])
async def test_objects_are_encrypted(minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """An option that is dropped on the way is found out by an auditor."""
    for name, value in minio_bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    async with _opened(f"{minio_bucket.url()}?{option}&part_bytes={_PART}") as storage:
        await storage.put("short", [b"bytes"])
        await storage.put("long", [_LONG])
        assert await storage.get("long") == _LONG
    for key in ("short", "long"):
        head = await _botocore(minio_bucket, "head_object", Key=f"agenttrace/{key}")
        assert head["ServerSideEncryption"] == option.partition("&")[0].removeprefix("sse=")


async def test_a_setting_that_the_server_refuses(minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again for ever, a wrong setting looks like a server that is away."""
    for name, value in minio_bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    for option in ("storage_class=GLACIER", "sse=aws:kms&kms_key_id=unknown"):
        async with _opened(f"{minio_bucket.url()}?{option}") as storage:
            with pytest.raises(ConfigurationError, match="storage at http"):
                await storage.put("a", [b"bytes"])


async def test_uploads_that_nobody_ended_are_aborted(
    versitygw_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed in the middle of a merge leaves parts, which are paid for and in no list."""
    monkeypatch.setattr("agenttrace_adapters.s3.storage._ABANDONED_S", -60.0)
    for name, value in versitygw_bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    await _botocore(versitygw_bucket, "create_multipart_upload", Key="agenttrace/a")
    await _botocore(versitygw_bucket, "create_multipart_upload", Key="others/a")
    async with _opened(versitygw_bucket.url()):
        pass
    left = (await _botocore(versitygw_bucket, "list_multipart_uploads"))["Uploads"]
    assert [upload["Key"] for upload in left] == ["others/a"]


# --- What an operator is told ---------------------------------------------------------------------


async def test_a_bucket_that_does_not_exist(bucket: S3Bucket) -> None:
    """Nobody finds a misspelt bucket by NoSuchBucket alone."""
    with pytest.raises(ConfigurationError, match=f"bucket 'no-such-bucket' at {bucket.place.endpoint} does not exist"):
        async with _opened("s3://no-such-bucket/prefix"):
            pass


@pytest.mark.parametrize("user", [f"{ACCESS_KEY}:another-secret", f"nobody:{SECRET_KEY}"])
async def test_wrong_credentials(bucket: S3Bucket, user: str) -> None:
    """What is refused must be said, and the secret must not."""
    with pytest.raises(ConfigurationError, match=bucket.name) as refused:
        async with _opened(f"s3://{user}@{bucket.name}"):
            pass
    assert "secret" not in str(refused.value)


async def test_no_credentials(minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what would be looked at."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        async with _opened(f"s3://{minio_bucket.name}?endpoint={minio_bucket.place.endpoint}"):
            pass


async def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that comes up later is waited for; one that never comes is told of."""
    monkeypatch.setattr("agenttrace_adapters.s3.connection._OPEN_FOR_S", 0.5)
    place = S3Place("http://127.0.0.1:9")
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        async with _opened("s3://bucket/prefix"):
            pass


# --- What a doctor finds --------------------------------------------------------------------------


def _finding(bucket: S3Bucket, **settings: Any) -> Finding:
    finding = storage_finding(Settings(storage=bucket.url(), **settings))
    assert finding is not None
    return finding


def test_a_doctor_puts_and_reads_an_object(bucket: S3Bucket) -> None:
    """Whoever may list a bucket may still not write to it, which the first flush would find out."""
    finding = _finding(bucket)
    assert finding.verdict is Verdict.GOOD
    assert "takes an object" in finding.found
    with closing(bucket.place.client()) as client:
        assert client.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0


def test_a_doctor_tells_of_tiers_that_are_not_there(minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for days before the first payload is old enough to be moved."""
    for name, value in minio_bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    finding = _finding(minio_bucket, retention={"tiers": {"enabled": True}})
    assert finding.verdict is Verdict.NOTE
    assert "InvalidStorageClass" in finding.found


def test_a_doctor_finds_no_bucket(bucket: S3Bucket) -> None:
    """The one line that an operator reads says what to make."""
    finding = storage_finding(Settings(storage="s3://no-such-bucket"))
    assert finding is not None
    assert finding.verdict is Verdict.WRONG
    assert "does not exist" in finding.found
    assert storage_finding(Settings()) is None
