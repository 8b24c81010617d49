"""The URL of a Kafka queue: what is right, what a wrong one says, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_adapters.kafka.options import Address, KafkaOptions
from agenttrace_core.errors import ConfigurationError


def test_a_url_names_brokers_topic_and_options() -> None:
    """This is the door by which operators say where their Kafka is; others document it."""
    options = KafkaOptions.of("kafka://one:9093,two,[::1]:9094/spans.v1?partitions=8&compression=lz4&linger_ms=5")
    assert options.servers == (Address("one", 9093), Address("two", 9092), Address("::1", 9094))
    assert (options.topic, options.partitions, options.compression, options.linger_ms) == ("spans.v1", 8, "lz4", 5)
    assert options.security_protocol == "PLAINTEXT"
    assert options.ssl_context() is None


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("kafka:", "kafka://HOST:9092/TOPIC"),
        ("kafka://host:9092", "kafka://HOST:9092/TOPIC"),
        ("kafka:///topic", "kafka://HOST:9092/TOPIC"),
        ("kafka://host:9092/", "no name of a topic"),
        ("kafka://host:9092/a/b", "no name of a topic"),
        ("kafka://host:9092/..", "no name of a topic"),
        ("kafka://host:99999/t", "no address of a broker"),
        ("kafka://host:9092,,other/t", "no address of a broker"),
        ("kafka://host/t?partition=4", "known are partitions, replication"),
        ("kafka://host/t?partitions=0", "a number from 1 to"),
        ("kafka://host/t?partitions=many", "a number from 1 to"),
        ("kafka://host/t?compression=brotli", "zstd, gzip, lz4, snappy, none"),
        ("kafka://host/t?default_project=", "1 to 63 of a-z"),
        ("kafka://host/t?default_project=My%20Team", "1 to 63 of a-z"),
        ("kafka://host/t?security_protocol=TLS", "SASL_SSL"),
        ("kafka://host/t?sasl_mechanism=GSSAPI", "SCRAM-SHA-512"),
        ("kafka://host/t?tls_key=/k", "tls_cert"),
        ("kafka://host/t?security_protocol=SASL_SSL", "KAFKA_USERNAME"),
        ("kafka://me:secret@host/t?security_protocol=SSL", "SASL_SSL or SASL_PLAINTEXT"),
        ("kafka://me:secret@host/t?no=1", "known are"),
        ("kafka://:secret@host/t", "KAFKA_USERNAME"),
        ("kafka://me:se/secret@host/t", "percent-encoded"),
    ],
)
def test_a_wrong_url_says_what_would_be_right(url: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends a URL by what the error says; the error is in logs that many read."""
    monkeypatch.delenv("KAFKA_USERNAME", raising=False)
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        KafkaQueue.from_url(url)
    assert right in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_user_of_the_url_goes_over_tls_unless_told_otherwise() -> None:
    """A password that is sent in the clear because nobody said otherwise is a password lost."""
    options = KafkaOptions.of("kafka://a%40b:p%3Aw%2F@host/t")
    assert (options.security_protocol, options.username, options.password) == ("SASL_SSL", "a@b", "p:w/")
    clear = KafkaOptions.of("kafka://me:pw@host/t?security_protocol=SASL_PLAINTEXT&sasl_mechanism=SCRAM-SHA-512")
    assert (clear.security_protocol, clear.sasl_mechanism) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert "p:w/" not in repr(options)


def test_the_environment_holds_what_a_url_should_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are handed to containers as variables; one that is meant for another program does no harm."""
    monkeypatch.setenv("KAFKA_USERNAME", "me")
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    options = KafkaOptions.of("kafka://host/t?security_protocol=SASL_SSL")
    assert (options.username, options.password) == ("me", "secret")
    assert KafkaOptions.of("kafka://host/t").username is None


def test_files_of_tls_that_are_missing_are_named(tmp_path: Path) -> None:
    """A wrong path is found at the start, not at the first certificate that does not verify."""
    options = KafkaOptions.of(f"kafka://host/t?tls_ca={tmp_path}/ca.pem")
    assert options.security_protocol == "SSL"
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        options.ssl_context()
