"""Pictures, sound and files inside messages: taken out, and named so that they can be asked for one by one.

A name says the trace and the span that the bytes lie in, and the beginning of their SHA-256. It needs no
signature: who asks is given what his own project's span holds under that hash, or nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from agenttrace_core.errors import NotFoundError
from agenttrace_core.messages.values import first_text
from agenttrace_core.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES

Part = dict[str, Any]

_HASH_BYTES: Final = 16
_ID_BYTES: Final = TRACE_ID_BYTES + SPAN_ID_BYTES + _HASH_BYTES
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^,]{0,200}?;base64,", re.ASCII | re.IGNORECASE)
_MIME: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
_SHORTEST: Final = 16
"""Characters of base64 that are taken for a blob without being told so."""
_MAGIC: Final = (
    (b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"), (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
)  # fmt: skip
_UNKNOWN: Final = "application/octet-stream"
_MIME_KEYS: Final = ("mime_type", "media_type", "mimeType", "mediaType")
_DATA_KEYS: Final = ("data", "content", "base64", "bytes", "image_base64", "image", "file_data")


@dataclass(frozen=True, slots=True)
class MediaId:
    """Where a blob lies, and what it is."""

    trace_id: str
    span_id: str
    digest: bytes

    def __str__(self) -> str:
        """Write it as URL-safe text."""
        raw = bytes.fromhex(self.trace_id) + bytes.fromhex(self.span_id) + self.digest
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> MediaId:
        """Read what ``str`` wrote.

        Raises:
            NotFoundError: ``text`` names nothing.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        if len(raw) != _ID_BYTES:
            raise NotFoundError(f"no media {text[:80]!r}")
        span = TRACE_ID_BYTES + SPAN_ID_BYTES
        return cls(raw[:TRACE_ID_BYTES].hex(), raw[TRACE_ID_BYTES:span].hex(), raw[span:])


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes out of a message, and the type that the sender, or their first bytes, say they have."""

    data: bytes
    mime_type: str


class Media:
    """Takes the blobs out of one span's messages.

    Args:
        trace_id: of the span.
        span_id: of the span.
        wanted: the digest of the one whose bytes are to be kept; they are in ``found`` afterwards.
    """

    def __init__(self, trace_id: str, span_id: str, wanted: bytes | None = None) -> None:
        self._trace_id = trace_id
        self._span_id = span_id
        self._wanted = wanted
        self.found: Blob | None = None
        self.taken = 0

    def part(self, text: str, mime_type: str | None = None) -> Part | None:
        """Return the reference that stands for base64 or a data URL; None if ``text`` is neither."""
        match = _DATA_URL.match(text)
        if match:
            text, mime_type = text[match.end() :], match[1] or mime_type
        data = _decoded(text)
        return None if data is None else self.reference(data, mime_type)

    def reference(self, data: bytes, mime_type: str | None) -> Part:
        """Return the reference that stands for ``data``."""
        self.taken += 1
        digest = hashlib.sha256(data).digest()[:_HASH_BYTES]
        if mime_type is None or not _MIME.fullmatch(mime_type):
            mime_type = _sniffed(data)
        if digest == self._wanted and self.found is None:
            self.found = Blob(data, mime_type)
        media_id = str(MediaId(self._trace_id, self._span_id, digest))
        return {
            "type": "blob", "modality": modality_of(mime_type), "mime_type": mime_type, "media_id": media_id,
            "bytes": len(data),
        }  # fmt: skip

    def taken_out(self, value: Any) -> Any:
        """Put references in the place of all media inside ``value``, which is changed, at any depth."""
        top = [value]
        waiting: list[Any] = [top]
        while waiting:
            container = waiting.pop()
            for place, item in list(enumerate(container) if isinstance(container, list) else container.items()):
                part = self._recognised(item)
                if part is not None:
                    container[place] = part
                elif isinstance(item, list | dict):
                    waiting.append(item)
        return top[0]

    def _recognised(self, item: Any) -> Part | None:
        if isinstance(item, str):
            return self.part(item) if item[:5].lower() == "data:" and _DATA_URL.match(item) else None
        if not isinstance(item, dict) or "media_id" in item:
            return None
        mime_type = first_text(item, *_MIME_KEYS)
        data = first_text(item, *_DATA_KEYS)
        if mime_type is None or data is None or len(data) < _SHORTEST or mime_type.startswith("text/"):
            return None
        return self.part(data, mime_type)


def is_data_url(text: str) -> bool:
    """Say whether ``text`` is a data URL of base64."""
    return _DATA_URL.match(text) is not None


def modality_of(mime_type: str) -> str:
    """Return ``image``, ``audio`` or ``video``; ``document`` for anything else."""
    head = mime_type.partition("/")[0].lower()
    return head if head in {"image", "audio", "video"} else "document"


def _decoded(text: str) -> bytes | None:
    """Read base64 of either alphabet, with or without its padding and line breaks."""
    try:
        raw = text.encode("ascii").translate(None, b"\r\n \t").rstrip(b"=")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=_alphabet(raw), validate=True) or None
    except (ValueError, binascii.Error):
        return None


def _alphabet(raw: bytes) -> bytes | None:
    return b"-_" if b"-" in raw or b"_" in raw else None


def _sniffed(data: bytes) -> str:
    if data[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(data[8:12], _UNKNOWN)
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return next((mime_type for magic, mime_type in _MAGIC if data.startswith(magic)), _UNKNOWN)
