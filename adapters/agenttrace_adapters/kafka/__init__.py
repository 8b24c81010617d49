"""The span queue on Apache Kafka: a topic, its partitions, and every process that can reach the brokers.

Here lives the only code that imports aiokafka: of it the connections (with TLS and SASL), the wire
format and the record batches. What is above that is ours, since the promises of the queue ask for it:
an append that is answered within a second while the brokers are away, readers that do not disturb
each other, ends that are asked for a hundred times a second. Nothing here knows what a body means.

::

    options    the URL
    cluster    brokers, leaders, connections; notices when they go and when they come back
    topic      makes the topic, and reads how it is set
    producer   one a partition: collects appends into batches, idempotent, acks=all
    reader     fetches from any offset, and keeps what was fetched ahead
    offsets    begins, ends, trimming
    records    headers and bodies <-> Kafka's records
    batches    records -> a batch, compressed
"""

from __future__ import annotations

from agenttrace_adapters.kafka.queue import KafkaQueue

__all__ = ["KafkaQueue"]
