"""Parquet; see the package."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyarrow import Buffer, NativeFile, RecordBatch, Schema, Table

_Source = str | Path | NativeFile | Buffer

class Statistics:
    has_min_max: bool
    has_null_count: bool
    is_min_value_exact: bool | None
    is_max_value_exact: bool | None
    min: Any
    max: Any
    null_count: int
    num_values: int

class ColumnChunkMetaData:
    path_in_schema: str
    data_page_offset: int
    dictionary_page_offset: int | None
    has_dictionary_page: bool
    statistics: Statistics | None
    is_stats_set: bool
    num_values: int
    total_compressed_size: int
    total_uncompressed_size: int

class RowGroupMetaData:
    num_rows: int
    num_columns: int
    total_byte_size: int
    def column(self, i: int) -> ColumnChunkMetaData: ...

class FileMetaData:
    num_rows: int
    num_row_groups: int
    num_columns: int
    serialized_size: int
    metadata: dict[bytes, bytes] | None
    def row_group(self, i: int) -> RowGroupMetaData: ...

class ParquetFile:
    metadata: FileMetaData
    schema_arrow: Schema
    num_row_groups: int
    def __init__(
        self,
        source: _Source,
        *,
        metadata: FileMetaData | None = None,
        read_dictionary: Sequence[str] | None = None,
        memory_map: bool = False,
        buffer_size: int = 0,
        pre_buffer: bool = False,
        page_checksum_verification: bool = False,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def close(self, force: bool = False) -> None: ...
    def iter_batches(
        self,
        batch_size: int = 65536,
        row_groups: Iterable[int] | None = None,
        columns: Sequence[str] | None = None,
        use_threads: bool = True,
    ) -> Iterator[RecordBatch]: ...
    def read(
        self, columns: Sequence[str] | None = None, use_threads: bool = True, use_pandas_metadata: bool = False
    ) -> Table: ...
    def read_row_group(self, i: int, columns: Sequence[str] | None = None, use_threads: bool = True) -> Table: ...
    def read_row_groups(
        self, row_groups: Sequence[int], columns: Sequence[str] | None = None, use_threads: bool = True
    ) -> Table: ...

class ParquetWriter:
    def __init__(self, where: str | Path | NativeFile, schema: Schema, **options: Any) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def add_key_value_metadata(self, key_value_metadata: Mapping[str, str]) -> None: ...
    def close(self) -> None: ...
    def write_batch(self, batch: RecordBatch, row_group_size: int | None = None) -> None: ...
    def write_table(self, table: Table, row_group_size: int | None = None) -> None: ...

def read_metadata(where: _Source) -> FileMetaData: ...
def read_table(
    source: _Source,
    *,
    columns: Sequence[str] | None = None,
    use_threads: bool = True,
    schema: Schema | None = None,
    memory_map: bool = False,
    filters: Any = None,
    partitioning: str | None = "hive",
    read_dictionary: Sequence[str] | None = None,
    pre_buffer: bool = True,
) -> Table: ...
def write_table(table: Table, where: str | Path | NativeFile, **options: Any) -> None: ...
