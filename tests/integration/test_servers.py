"""The servers of the tests can be broken and come back, so that what a fault test sees is its fault."""

from __future__ import annotations

import socket

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Bucket

SERVERS = ["own_kafka", "own_minio", "own_versitygw", "own_postgres", "own_redis"]


def _connects(server: ServerProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_comes_back_at_its_port(name: str, request: pytest.FixtureRequest) -> None:
    """Else a program under test would never find it again, and be blamed."""
    server: ServerProcess = request.getfixturevalue(name)
    port, breaks = server.port, [server.stop, server.kill]
    for how in breaks:
        how()
        assert not server.running
        assert not _connects(server)
        server.start()
        assert (server.port, _connects(server)) == (port, True)


def test_a_paused_server_says_nothing(own_redis: RedisServer) -> None:
    """Else a test of timeouts would test nothing."""
    own_redis.pause()
    with socket.create_connection(("127.0.0.1", own_redis.port)) as connection:
        connection.settimeout(0.2)
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(16)
        own_redis.resume()
        connection.settimeout(10)
        assert connection.recv(16) == b"+PONG\r\n"


def test_postgres_keeps_what_was_written_when_it_is_killed(own_postgres: PostgresServer) -> None:
    """Else a test of recovery would blame the catalog."""
    own_postgres.place.execute("CREATE TABLE kept (x int)")
    own_postgres.kill()
    own_postgres.start()
    own_postgres.place.execute("DROP TABLE kept")


def test_buckets_are_empty_and_apart(minio_bucket: S3Bucket, versitygw_bucket: S3Bucket) -> None:
    """Else one test would read what another wrote."""
    for bucket in (minio_bucket, versitygw_bucket):
        client = bucket.place.client()
        assert client.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0
        client.put_object(Bucket=bucket.name, Key="a", Body=b"a")
        another = bucket.place.new_bucket()
        assert client.list_objects_v2(Bucket=another.name)["KeyCount"] == 0
        client.close()
