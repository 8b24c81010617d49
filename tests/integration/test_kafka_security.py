"""Kafka behind TLS and SASL: a broker with certificates of its own, users and passwords."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, append_many, stored
from agenttrace_core.errors import ConfigurationError, UnavailableError
from tests.integration.kafka_others import new_topic
from tests.servers.kafka import KafkaServer
from tests.servers.programs import java

pytestmark = pytest.mark.anyio

_USER, _PASSWORD = "alice", "s3cret/with:signs@"
_QUOTED = "alice:s3cret%2Fwith%3Asigns%40"


class Safe:
    """A broker with four listeners, and the files that open them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _make_certificates(folder)
        self.server = KafkaServer(
            listeners={"SAFE": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT", "TLS": "SSL", "MUTUAL": "SSL"},
            properties=self._properties(),
        )

    def url(self, listener: str, options: str = "", userinfo: str = "") -> str:
        at = f"{userinfo}@" if userinfo else ""
        return f"kafka://{at}{self.server.addresses[listener]}/{new_topic()}?timeout_ms=10000{options and '&'}{options}"

    @property
    def ca(self) -> str:
        return f"tls_ca={self.folder}/ca.pem"

    def add_scram_user(self) -> None:
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            subprocess.run(
                [
                    java(), "-cp", f"{self.server._jars}/*", "kafka.admin.ConfigCommand",
                    "--bootstrap-server", self.server.address, "--alter", "--entity-type", "users",
                    "--entity-name", _USER, "--add-config", f"{mechanism}=[iterations=4096,password={_PASSWORD}]",
                ],
                check=True, capture_output=True,
            )  # fmt: skip

    def _properties(self) -> dict[str, str]:
        login = "org.apache.kafka.common.security"
        users = f'{login}.plain.PlainLoginModule required user_{_USER}="{_PASSWORD}";'
        properties: dict[str, str] = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": f"{self.folder}/broker.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": f"{self.folder}/ca.pem",
            "listener.name.mutual.ssl.client.auth": "required",
        }
        for listener in ("safe", "clear"):
            prefix = f"listener.name.{listener}"
            properties[f"{prefix}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
            properties[f"{prefix}.plain.sasl.jaas.config"] = users
            for scram in ("scram-sha-256", "scram-sha-512"):
                properties[f"{prefix}.{scram}.sasl.jaas.config"] = f"{login}.scram.ScramLoginModule required;"
        return properties


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory, _kafka_server: KafkaServer) -> Iterator[Safe]:
    safe = Safe(tmp_path_factory.mktemp("certificates"))
    try:
        safe.server.start()
        safe.add_scram_user()
        yield safe
    finally:
        safe.server.destroy()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("listener", ["SAFE", "CLEAR"])
async def test_a_user_is_let_in(safe: Safe, listener: str, mechanism: str, caplog: pytest.LogCaptureFixture) -> None:
    """Managed Kafka is reached in no other way; and the password must be in no log."""
    caplog.set_level("DEBUG")
    protocol = {"SAFE": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT"}[listener]
    url = safe.url(listener, f"security_protocol={protocol}&sasl_mechanism={mechanism}&{safe.ca}", _QUOTED)
    async with opened(KafkaQueue.from_url(url)) as queue:
        assert await append_many(queue, [b"%d" % i for i in range(50)]) == await stored(queue)
    assert _PASSWORD not in caplog.text
    assert "s3cret" not in caplog.text


async def test_user_and_password_come_from_the_environment(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how containers are given secrets."""
    monkeypatch.setenv("KAFKA_USERNAME", _USER)
    monkeypatch.setenv("KAFKA_PASSWORD", _PASSWORD)
    async with opened(KafkaQueue.from_url(safe.url("SAFE", f"security_protocol=SASL_SSL&{safe.ca}"))) as queue:
        await queue.append(HEADERS, b"body")


async def test_tls_alone_and_with_a_certificate_of_ours(safe: Safe) -> None:
    """Some brokers know clients by their certificates, and ask for no password."""
    async with opened(KafkaQueue.from_url(safe.url("TLS", safe.ca))) as queue:
        await queue.append(HEADERS, b"body")
    ours = f"{safe.ca}&tls_cert={safe.folder}/client.pem&tls_key={safe.folder}/client.key"
    async with opened(KafkaQueue.from_url(safe.url("MUTUAL", ours))) as queue:
        await queue.append(HEADERS, b"body")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_a_mistake_of_the_operator(safe: Safe, mechanism: str) -> None:
    """Trying again mends it not; the start ends with words that say so, and not the password."""
    url = safe.url("SAFE", f"sasl_mechanism={mechanism}&{safe.ca}", "alice:wrong-one")
    with pytest.raises(ConfigurationError, match="does not let us in") as caught:
        await KafkaQueue.from_url(url).open()
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("listener", "options", "userinfo", "says"),
    [
        ("TLS", "security_protocol=SSL", "", "certificate verify failed"),
        ("MUTUAL", "{ca}", "", "MUTUAL"),
        ("TLS", "", "", "TLS"),
        ("SAFE", "{ca}", "", "SAFE"),
        ("CLEAR", "{ca}", _QUOTED, "SASL_SSL"),
    ],
)
async def test_a_wrong_way_in_is_told_within_seconds(
    safe: Safe, listener: str, options: str, userinfo: str, says: str
) -> None:
    """An unknown authority, no certificate, TLS where there is none: each is said at the start."""
    url = safe.url(listener, options.format(ca=safe.ca), userinfo)
    began = time.monotonic()
    with pytest.raises((UnavailableError, ConfigurationError)) as caught:
        await KafkaQueue.from_url(url).open()
    assert time.monotonic() - began < 6.0
    assert says.replace(listener, safe.server.addresses[listener]) in str(caught.value), str(caught.value)


def _make_certificates(folder: Path) -> None:
    """Make an authority, and certificates of a broker and of a client."""
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority")
    for name in ("broker", "client"):
        (folder / "san.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl(folder, f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        sign = f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2"
        _openssl(folder, f"{sign} -extfile san.ext")
    with (folder / "broker.pem").open("a") as pem:
        pem.write((folder / "broker.key").read_text())


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
