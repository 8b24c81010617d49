"""Answers in rows and columns, in whatever form the caller's tools want."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from agenttrace.client.connection import Connection
from agenttrace.client.errors import needed


class Figures:
    """Rows that a question gives: asked for once, when they are first looked at, in the form that is wanted.

    ``bucket`` is in nanoseconds since the epoch in ``rows`` and Arrow, and a time in pandas and polars. Money is
    ``Decimal`` in all of them.

    Args:
        connection: whom to ask.
        path: of the question.
        query: its parameters.
    """

    def __init__(self, connection: Connection, path: str, query: Mapping[str, Any]) -> None:
        self._connection = connection
        self._path = path
        self._query = dict(query)
        self._rows: list[dict[str, Any]] | None = None
        self._stream: bytes | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        if self._rows is None:
            told = self._connection.json(self._path, **self._query)["rows"]
            self._rows = [
                {n: Decimal(v) if n.endswith("_usd") and v is not None else v for n, v in row.items()} for row in told
            ]
        return self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table``.

        Raises:
            MissingPackageError: pyarrow is not installed.
        """
        pyarrow_ipc = needed("pyarrow", "to_arrow()").ipc
        return pyarrow_ipc.open_stream(self._arrow_stream()).read_all()

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``.

        Raises:
            MissingPackageError: pandas or pyarrow is not installed.
        """
        pandas = needed("pandas", "to_pandas()")
        frame = self.to_arrow().to_pandas()
        if "bucket" in frame:
            frame["bucket"] = pandas.to_datetime(frame["bucket"], unit="ns", utc=True)
        return frame

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``.

        Raises:
            MissingPackageError: polars is not installed.
        """
        polars = needed("polars", "to_polars()")
        frame = polars.read_ipc_stream(self._arrow_stream())
        if "bucket" in frame.columns:
            moment = polars.col("bucket").cast(polars.Datetime("ns")).dt.replace_time_zone("UTC")
            frame = frame.with_columns(moment)
        return frame

    def _arrow_stream(self) -> bytes:
        if self._stream is None:
            self._stream = self._connection.bytes(self._path, **self._query, format="arrow")
        return self._stream
