"""Apache Kafka in KRaft mode: one process that is broker and controller."""

from __future__ import annotations

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerProcess, free_port
from tests.servers.programs import java, kafka_jars

_METADATA_REQUEST = struct.pack(">hhih", 3, 0, 1, -1) + struct.pack(">i", 0)
"""API key 3 in version 0, correlation id 1, no client id; no topics, which means all
(https://kafka.apache.org/protocol#The_Messages_Metadata)."""


@dataclass(frozen=True)
class KafkaPlace:
    """A broker's address."""

    address: str

    def url(self, topic: str, query: str = "") -> str:
        """Return the value of ``queue`` for a topic."""
        return f"kafka://{self.address}/{topic}{query and '?' + query}"


class KafkaServer(ServerProcess):
    """A broker.

    Args:
        properties: of the broker's configuration, besides ours or in the place of ours.
        listeners: further listeners by name, and their security protocol, such as ``{"SAFE":
            "SASL_PLAINTEXT"}``; ``addresses[name]`` is where it listens.
        joins: the broker whose cluster it is a member of, as a broker alone; None is a cluster of its own.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        joins: KafkaServer | None = None,
    ) -> None:
        self._jars = kafka_jars()
        super().__init__()
        self.node = joins.next_node() if joins else 1
        self._nodes = 1
        self._joins = joins
        self._controller: str = joins._controller if joins else f"127.0.0.1:{free_port()}"
        self._cluster: str = joins._cluster if joins else _new_cluster()
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in listeners or {}}
        self._protocols = dict(listeners or {})
        self._properties = self._ours() | dict(properties or {})

    @property
    def place(self) -> KafkaPlace:
        """Where it is."""
        return KafkaPlace(self.address)

    def next_node(self) -> int:
        """Return the number of one more broker of the cluster."""
        self._nodes += 1
        return self._nodes

    def start(self) -> None:
        """Start it; its data folder is made the first time."""
        configuration = self.folder / "server.properties"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in self._properties.items()))
        if not (self.folder / "data").exists():
            subprocess.run(
                [*self._java(), "kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", configuration],
                check=True, capture_output=True,
            )  # fmt: skip
        super().start()

    def _ours(self) -> dict[str, str]:
        named = [("PLAINTEXT", self.address), *self.addresses.items()]
        listening = named if self._joins else [*named, ("CONTROLLER", self._controller)]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self._protocols}
        return {
            "process.roles": "broker" if self._joins else "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": f"1@{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(f"{n}://{a}" for n, a in listening),
            "advertised.listeners": ",".join(f"{n}://{a}" for n, a in named),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            # One that was killed is let in again only once it counts as dead.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
        }

    def _command(self) -> Sequence[str | Path]:
        return [*self._java(), "kafka.Kafka", self.folder / "server.properties"]

    def _java(self) -> list[str | Path]:
        # A broker of the tests lives for minutes: the thorough compiler would cost it more than it gives.
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]
        return [java(), *quick, "-cp", f"{self._jars}/*"]

    def _answers(self) -> bool:
        # It listens before it is a member of its own cluster: up it is once it names a broker.
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
            answer = connection.recv(12)
        return len(answer) == 12 and struct.unpack(">i", answer[8:])[0] >= 1


def _new_cluster() -> str:
    # Zero first: one in 64 ids would begin with a dash, which Kafka's tool takes for a switch.
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
