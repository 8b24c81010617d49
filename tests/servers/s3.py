"""Two S3 servers: MinIO, and versitygw over a folder."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.servers.process import ServerProcess, free_port
from tests.servers.programs import minio, versitygw

ACCESS_KEY = "agenttrace"
SECRET_KEY = "agenttrace-secret"
REGION = "us-east-1"
KMS_KEY = "test-key"
_KMS_SECRET = f"{KMS_KEY}:0/nlzGuM+eC0nVR+gmnG93bH5C+sU+8o1VpKaTNuoZU="


@dataclass(frozen=True)
class S3Place:
    """An S3 server's endpoint, such as ``http://127.0.0.1:9000``, and who may use it."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @classmethod
    def from_url(cls, url: str) -> S3Place:
        """Make one of ``http://user:password@host:port``."""
        parts = urlsplit(url)
        return cls(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.username or "", parts.password or "")

    def environment(self) -> dict[str, str]:
        """Return the standard variables that name this server and its user."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
        }

    def client(self) -> Any:
        """Return botocore's own client, for what a test does behind the adapter's back. It blocks."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def new_bucket(self) -> S3Bucket:
        """Make an empty bucket that no other test knows."""
        bucket = f"test-{uuid.uuid4().hex[:16]}"
        client = self.client()
        client.create_bucket(Bucket=bucket)
        client.close()
        return S3Bucket(self, bucket)


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of a server."""

    place: S3Place
    name: str

    def url(self, prefix: str = "agenttrace") -> str:
        """Return the value of ``storage``; the server and its user are in ``place.environment()``."""
        return f"s3://{self.name}/{prefix}"


class MinioServer(ServerProcess):
    """MinIO, which encrypts (SSE-S3, and SSE-KMS with ``KMS_KEY``) and knows two storage classes.

    Args:
        environment: variables instead of those that say who may use it.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._program = minio()
        self._who = environment or {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
        self._console = free_port()
        super().__init__()

    @property
    def place(self) -> S3Place:
        """Where it is."""
        return S3Place(f"http://{self.address}")

    def _command(self) -> Sequence[str | Path]:
        ports = ["--address", self.address, "--console-address", f"127.0.0.1:{self._console}"]
        return [self._program, "server", "--quiet", *ports, self.folder / "data"]

    def _environment(self) -> Mapping[str, str]:
        return {**self._who, "MINIO_KMS_SECRET_KEY": _KMS_SECRET}

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}/minio/health/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False


class VersitygwServer(ServerProcess):
    """versitygw, which takes every storage class and encryption header, and does nothing about them."""

    def __init__(self) -> None:
        self._program = versitygw()
        super().__init__()

    @property
    def place(self) -> S3Place:
        """Where it is."""
        return S3Place(f"http://{self.address}")

    def _command(self) -> Sequence[str | Path]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [self._program, "--quiet", "--port", self.address, "--region", REGION, "posix", data]

    def _environment(self) -> Mapping[str, str]:
        return {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
