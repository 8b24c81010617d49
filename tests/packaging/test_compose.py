"""`docker compose up` brings the whole of it. Where there is no engine, everything else of it is done and looked at."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from agenttrace_server.auth import key_hash
from tests.e2e.running import until
from tests.packaging.composed import PARTS, TREE, Composed, build, instructions, services
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.s3 import MinioServer

_KAFKA_PROPERTIES = ("auto", "offsets", "transaction", "group")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile's steps make of a clean folder."""
    folder = tmp_path_factory.mktemp("image")
    build(folder / "source", folder / "root")
    return folder / "root"


@pytest.mark.timeout(600)
def test_the_image_is_built_by_its_steps_in_a_clean_folder(image: Path) -> None:
    """A file that the Dockerfile does not copy is missed by whoever builds it, and by nobody before."""
    said = subprocess.run([image / "opt/agenttrace/bin/agenttrace", "--version"], check=True, capture_output=True)
    assert said.stdout
    assert (image / "var/lib/agenttrace").is_dir()


def test_the_image_runs_as_nobody_in_particular_on_a_release_that_is_named() -> None:
    """Root in a container is root for whoever breaks out of it; a base that moves breaks builds on its own time."""
    said = instructions()
    assert [rest for word, rest in said if word == "USER"] == ["10001:10001"]
    assert all(":" in rest.split()[0] and ":latest" not in rest for word, rest in said if word == "FROM")
    assert [word for word, _ in said].count("HEALTHCHECK") == 1


def test_compose_accepts_the_file() -> None:
    """A file that does not parse brings nothing up."""
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        command = ["docker", "compose"]
    elif shutil.which("docker-compose"):
        command = ["docker-compose"]
    elif os.environ.get("AGENTTRACE_TEST_SERVERS") == "required":
        pytest.fail("neither docker compose nor docker-compose is here")
    else:
        pytest.skip("not run: sudo apt-get install -y docker-compose")
    done = subprocess.run([*command, "config", "-q"], cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_haproxy_accepts_its_file() -> None:
    """The one way in would be closed."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        if os.environ.get("AGENTTRACE_TEST_SERVERS") == "required":
            pytest.fail("haproxy is not here")
        pytest.skip("not run: sudo apt-get install -y haproxy")
    done = subprocess.run(
        [haproxy, "-c", "-f", TREE / "deploy/haproxy.cfg"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_secret_is_written_and_nothing_is_open_to_others() -> None:
    """What is written in a public file is every deployment's password."""
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), name
            assert "//agenttrace:" not in str(value) or "//agenttrace:{" in str(value), name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_each_waits_until_what_it_needs_is_well() -> None:
    """Parts that start before their servers fail, and are started again, until somebody looks why."""
    of = services()
    for part in PARTS:
        waits = {name: on["condition"] for name, on in of[part]["depends_on"].items()}
        assert waits == {
            "bucket": "service_completed_successfully",
            "kafka": "service_healthy",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }
    assert of["bucket"]["depends_on"]["minio"]["condition"] == "service_healthy"
    for server in ("minio", "postgres", "redis"):
        assert of[server]["depends_on"]["setup"]["condition"] == "service_completed_successfully"
    for name, service in of.items():
        assert "healthcheck" in service or name in {*PARTS, "door"}, name
        assert ":" in service["image"], name


# --- All of it, without an engine ---------------------------------------------------------------------


@pytest.fixture
def composed(image: Path, tmp_path: Path) -> Iterator[Composed]:
    """The four servers as compose has them, with the passwords of a first start, and who uses them."""
    setup = tmp_path / "setup"
    setup.mkdir()
    broker = KafkaServer(_kafka_properties())
    who = services()["minio"]["environment"] | {"MINIO_ROOT_PASSWORD_FILE": str(setup / "minio/password")}
    minio = MinioServer(who)
    postgres = PostgresServer(setup / "postgres/password")
    redis = RedisServer(configuration=setup / "redis/redis.conf")
    servers = {"kafka:9092": broker, "minio:9000": minio, "postgres:5432": postgres, "redis:6379": redis}
    here = {name: server.address for name, server in servers.items()}
    folders = {
        "/etc/agenttrace": f"{setup}/agenttrace",
        "/opt/agenttrace": f"{image}/opt/agenttrace",
        "/setup": str(setup),
    }
    try:
        yield Composed(image, tmp_path, {**here, **folders}, servers)
    finally:
        for server in servers.values():
            server.destroy()


@pytest.mark.timeout(600)
def test_a_span_goes_through_all_parts_as_they_are_composed(composed: Composed, tmp_path: Path) -> None:
    """Each part may be right, and what joins them wrong."""
    (key,) = _keys(composed.run("setup"))
    for server in composed.servers.values():
        server.start()
    composed.servers["postgres:5432"].place.execute("CREATE DATABASE agenttrace")  # as its image does
    assert "made" in composed.run("bucket")
    assert "there" in composed.run("bucket")
    otlp, grpc, api, write, compact = (free_port() for _ in range(5))
    ports = {
        "ingest": {"HEALTH_PORT": otlp, "AGENTTRACE_INGEST__PORT": otlp, "AGENTTRACE_INGEST__GRPC_PORT": grpc},
        "query": {"HEALTH_PORT": api, "AGENTTRACE_QUERY__PORT": api},
        "write": {"HEALTH_PORT": write, "AGENTTRACE_METRICS__PORT": write},
        "compact": {"HEALTH_PORT": compact, "AGENTTRACE_METRICS__PORT": compact},
    }
    with ExitStack() as stack:
        for part in PARTS:
            variables = {"AGENTTRACE_DATA": str(tmp_path / part)} | {name: str(n) for name, n in ports[part].items()}
            running = composed.start(part, **variables)
            stack.callback(running.end)
            until(running.is_healthy)
        _send(otlp, key)
        until(lambda: _traces(api, key) == ["composed"])
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            _traces(api, "at_default_wrong")
        for part in PARTS:
            assert running.log().count("Traceback") == 0, part


def test_a_second_start_changes_nothing_and_shows_no_key(composed: Composed, tmp_path: Path) -> None:
    """New passwords would lock the parts out of servers that have the old ones; a key in every log is no secret."""
    composed.run("setup")
    before = _contents(tmp_path / "setup")
    assert _keys(composed.run("setup")) == []
    assert _contents(tmp_path / "setup") == before
    assert {path.name: path.stat().st_mode & 0o777 for path in before}["agenttrace.toml"] == 0o600


def test_further_keys_can_be_made(composed: Composed, tmp_path: Path) -> None:
    """The first key is shown once; whoever lost it must not lose the spans."""
    (first,) = _keys(composed.run("setup"))
    (second,) = _keys(composed.run("setup", "--key", "shop"))
    settings = tomllib.loads((tmp_path / "setup/agenttrace/agenttrace.toml").read_text())
    assert [key["project"] for key in settings["auth"]["keys"]] == ["default", "shop"]
    assert [key["sha256"] for key in settings["auth"]["keys"]] == [key_hash(first), key_hash(second)]


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _kafka_properties() -> dict[str, str]:
    """Return the broker's settings that its image makes of the variables, but for where it is."""
    of = services()["kafka"]["environment"]
    said = {name.removeprefix("KAFKA_").lower().replace("_", "."): str(value) for name, value in of.items()}
    return {name: value for name, value in said.items() if name.split(".")[0] in _KAFKA_PROPERTIES}


def _keys(said: str) -> list[str]:
    return re.findall(r"^ {4}(at_\S+)$", said, re.MULTILINE)


def _contents(folder: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def _send(port: int, key: str) -> None:
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "composed", "startTimeUnixNano": str(time.time_ns())}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    httpx.post(f"http://127.0.0.1:{port}/v1/traces", json=body, headers=_bearer(key), timeout=30).raise_for_status()


def _traces(port: int, key: str) -> list[str]:
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/traces", headers=_bearer(key), timeout=30).raise_for_status()
    return [item["name"] for item in answer.json()["items"]]


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
