from collections.abc import Iterator, Sequence

from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition

class PartitionRecords(Iterator[ConsumerRecord]):
    next_fetch_offset: int
    def __init__(
        self,
        tp: TopicPartition,
        records: MemoryRecords,
        aborted_transactions: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        key_deserializer: None,
        value_deserializer: None,
        check_crcs: bool,
        isolation_level: int,
    ) -> None: ...
    def __next__(self) -> ConsumerRecord: ...
