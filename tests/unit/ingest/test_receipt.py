"""Receipts: what they say of records in several partitions, and that those of older releases still open."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.receipt import Receipt

_KEY = b"k" * 32


def _signed(*fields: object) -> str:
    body = json.dumps(fields, separators=(",", ":")).encode()
    mac = hmac.digest(_KEY, body, hashlib.sha256)[:16]
    return base64.urlsafe_b64encode(mac + body).rstrip(b"=").decode()


def test_a_receipt_is_below_only_if_all_of_its_records_are() -> None:
    """A client that waits for its spans must not be told that they are there when three of four parts are."""
    receipt = Receipt("shop", "traces", {0: 10, 3: 20}, 5, 0, 42)
    assert Receipt.open(receipt.sign(_KEY), _KEY, "shop") == receipt
    assert receipt.is_below({0: 10, 1: 0, 3: 20})
    assert not receipt.is_below({0: 10, 3: 19})
    assert not receipt.is_below({3: 20})


def test_receipts_of_older_releases_open() -> None:
    """A client may hold one over the update of the server."""
    old = _signed(1, "shop", "traces", 2, 100, 150, 5, 1, 42, "why")
    assert Receipt.open(old, _KEY, "shop") == Receipt("shop", "traces", {2: 150}, 5, 1, 42, "why")
    nothing = _signed(1, "shop", "traces", 0, 0, 0, 0, 1, 42, "why")
    assert Receipt.open(nothing, _KEY, "shop").ends == {}


@pytest.mark.parametrize("fields", [(3, "shop", "traces", [], 1, 0, 42), (1, "shop"), (2, "shop", "traces", 7), ()])
def test_what_no_release_has_signed_does_not_open(fields: tuple[object, ...]) -> None:
    """One from a newer release, after a step back, is an answer that cannot be given, not a crash."""
    with pytest.raises(NotFoundError):
        Receipt.open(_signed(*fields), _KEY, "shop")
