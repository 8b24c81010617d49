"""The storage contract on two S3 servers, and on one with what it encrypts."""

from __future__ import annotations

import pytest

from agenttrace_adapters.s3 import S3Storage
from agenttrace_contracts.base import Make
from agenttrace_contracts.storage import StorageContract
from agenttrace_core.ports.storage import ObjectStorage
from tests.servers.s3 import KMS_KEY, S3Bucket


def _make(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, options: str = "") -> Make[ObjectStorage]:
    for name, value in bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    return lambda name: S3Storage.from_url(f"{bucket.url(name)}{options}")


class TestMinio(StorageContract):
    @pytest.fixture
    def make(self, minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Make[ObjectStorage]:
        return _make(minio_bucket, monkeypatch)


class TestMinioWithKeysOfAService(StorageContract):
    @pytest.fixture
    def make(self, minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Make[ObjectStorage]:
        return _make(minio_bucket, monkeypatch, f"?sse=aws:kms&kms_key_id={KMS_KEY}")


class TestVersitygw(StorageContract):
    @pytest.fixture
    def make(self, versitygw_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Make[ObjectStorage]:
        return _make(versitygw_bucket, monkeypatch)
