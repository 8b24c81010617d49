"""``python -m tests.faults.scaled.defective TEXT COMMAND…`` runs one that cannot decode what has TEXT in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from agenttrace_core.ports.queue import Record
from agenttrace_core.services import tail
from agenttrace_server.cli.main import main


def cannot_decode(text: bytes) -> None:
    """Have every reader of the queue in this process fail at records with ``text``."""
    sound = tail.decode_records

    def decode_records(records: Sequence[Record], *more: Any, **named: Any) -> pa.Table:
        if any(text in record.body for record in records):
            raise ValueError(f"a defect: {text!r} is too much for this release")
        return sound(records, *more, **named)

    tail.decode_records = decode_records


if __name__ == "__main__":
    cannot_decode(sys.argv[1].encode())
    main(sys.argv[2:])
