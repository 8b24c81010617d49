"""An archive in front of an S3 server that has none: what is put into GLACIER or DEEP_ARCHIVE cannot be read.

It answers as the documentation of Amazon S3 says that S3 does ("Working with archived objects"), which no server
that can be started here does: MinIO refuses these classes, and versitygw takes them and forgets them.
"""

from __future__ import annotations

from urllib.parse import unquote

from tests.servers.fault_proxy import Asked, FaultProxy, Head
from tests.servers.s3 import S3Place

_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
_IS_READABLE = b'x-amz-restore: ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"\r\n'


class ArchiveProxy(FaultProxy):
    """Remembers of each object in which class it was put, and which are being restored."""

    def __init__(self, place: S3Place) -> None:
        super().__init__(place)
        self.classes: dict[str, str] = {}
        self._uploading: dict[str, str] = {}
        self.restoring: set[str] = set()
        self.restored: set[str] = set()

    def finish_restores(self) -> None:
        """Let all that was asked for be readable."""
        self.restored |= self.restoring
        self.restoring.clear()

    def _instead(self, asked: Asked, head: Head) -> bytes | None:
        if asked.method == "POST" and asked.query.startswith("restore"):
            if asked.path in self.restoring:
                return _refusal(409, "RestoreAlreadyInProgress")
            self.restoring.add(asked.path)
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        source = unquote(head.fields.get("x-amz-copy-source", ""))
        read = f"/{source.lstrip('/')}" if source else asked.path
        if (asked.method == "GET" or source) and self._is_away(read):
            return _refusal(403, "InvalidObjectState")
        return None

    def _amended(self, asked: Asked, head: Head, answer: Head) -> bytes:
        name = head.fields.get("x-amz-storage-class", "STANDARD")
        if answer.first[1] == "200" and asked.method == "PUT" and "uploadId" not in asked.query:
            self._put(asked.path, name)
        elif answer.first[1] == "200" and asked.method == "POST" and asked.query.startswith("uploads"):
            self._uploading[asked.path] = name
        elif answer.first[1] == "200" and asked.method == "POST" and "uploadId" in asked.query:
            self._put(asked.path, self._uploading.pop(asked.path))
        if asked.method != "HEAD" or asked.path not in self.classes:
            return answer.raw
        told = b"x-amz-storage-class: " + self.classes[asked.path].encode() + b"\r\n"
        if asked.path in self.restoring:
            told += b'x-amz-restore: ongoing-request="true"\r\n'
        elif asked.path in self.restored:
            told += _IS_READABLE
        return answer.without("x-amz-storage-class")[:-2] + told + b"\r\n"

    def _put(self, path: str, name: str) -> None:
        self.classes.pop(path, None)
        self.restored.discard(path)
        if name != "STANDARD":
            self.classes[path] = name

    def _is_away(self, path: str) -> bool:
        return self.classes.get(path) in _ARCHIVES and path not in self.restored


def _refusal(status: int, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as the archive says</Message></Error>".encode()
    return (
        f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
