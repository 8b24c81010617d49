"""`compose.yaml` and the `Dockerfile`, read for what they say, and done without an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TREE = Path(__file__).parents[2]
PARTS = ("ingest", "write", "query", "compact")


def services() -> dict[str, Any]:
    """Return the services, with what YAML's own references bring together."""
    found: dict[str, Any] = yaml.safe_load((TREE / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each with what follows it."""
    lines = (TREE / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if re.match("[A-Z]+ ", line))]


def build(source: Path, image: Path) -> None:
    """Do what the Dockerfile does, in the folder ``source``, with the folder ``image`` as the root of what it makes.

    Raises:
        CalledProcessError: a step failed.
    """
    source.mkdir()
    stages = 0
    for word, rest in instructions():
        stages += word == "FROM"
        if word == "COPY" and not rest.startswith("--from"):
            *names, into = shlex.split(rest)
            for name in names:
                _copy(TREE / name, source / into / name if into.endswith("/") else source / into)
        if word == "RUN":
            command = re.sub(r"(?<= )/", f"{image}/", rest)
            if os.geteuid() != 0:
                command = re.sub("-[og] [0-9]+ ", "", command)
            subprocess.run(["sh", "-ec", command], cwd=source if stages == 1 else image, check=True)


def _copy(what: Path, into: Path) -> None:
    if what.is_dir():
        left_out = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(what, into, ignore=left_out)
    else:
        shutil.copy(what, into)


class Composed:
    """The services as they are composed, with names of containers and paths in them replaced by what there is here.

    Args:
        image: the folder that stands for the image's root.
        folder: where parts may write.
        here: what takes the place of which text.
        servers: the servers that are not ours, by host and port.
    """

    def __init__(self, image: Path, folder: Path, here: Mapping[str, str], servers: Mapping[str, Any]) -> None:
        self.image = image
        self.folder = folder
        self.servers = servers
        self._here = here

    def run(self, service: str, *words: str) -> str:
        """Run a service that ends, with further words; return what it printed."""
        done = subprocess.run(
            [*self._command(service), *words],
            env=self._environment(service),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, service: str, **variables: str) -> Running:
        """Start a service that goes on; ``variables`` take the place of its own."""
        environment = self._environment(service) | variables
        healthy = [str(self._program("python")), f"{self.image}/opt/agenttrace/deploy/healthy.py"]
        return Running(self._command(service), environment, self.folder / f"{service}.log", healthy)

    def _command(self, service: str) -> list[str]:
        said = services()[service]
        program, *words = [*said.get("entrypoint", ["agenttrace"]), *said.get("command", [])]
        return [str(self._program(program)), *(self._replaced(word) for word in words)]

    def _program(self, name: str) -> Path:
        return self.image / "opt/agenttrace/bin" / name

    def _environment(self, service: str) -> dict[str, str]:
        said = {name: self._replaced(str(value)) for name, value in services()[service].get("environment", {}).items()}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **said}

    def _replaced(self, text: str) -> str:
        # All at once: what has been put in may hold another of the names.
        return re.sub("|".join(map(re.escape, self._here)), lambda found: self._here[found[0]], text)


class Running:
    """A part that runs."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, healthy: list[str]) -> None:
        self._environment, self._log, self._healthy = environment, log, healthy
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)

    def is_healthy(self) -> bool:
        """Do what the image's health check does."""
        assert self._process.poll() is None, self.log()
        return subprocess.run(self._healthy, env=self._environment, capture_output=True, check=False).returncode == 0

    def log(self) -> str:
        """Return all that it has said."""
        return self._log.read_text()

    def end(self) -> None:
        """End it as compose does."""
        self._process.terminate()
        try:
            assert self._process.wait(timeout=40) == 0, self.log()
        finally:
            self._process.kill()
            self._process.wait()
