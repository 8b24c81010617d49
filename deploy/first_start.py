"""Make what a deployment must not share with any other: a project's key, and the servers' passwords.

``first_start.py FOLDER`` fills a folder's ``agenttrace/``, ``minio/``, ``postgres/`` and ``redis/``, each for one kind
of container, and prints the key. Where that was done before it changes nothing. ``first_start.py FOLDER --key PROJECT``
makes a further key.

The URLs of the backends come from ``SETUP_STORAGE``, ``SETUP_METADATA`` and ``SETUP_CACHE``, in which ``{minio}``,
``{postgres}`` and ``{redis}`` stand for the passwords.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from agenttrace_server.auth import new_key

_BACKENDS = ("storage", "metadata", "cache")
_SERVERS = ("minio", "postgres", "redis")
_REDIS = """\
requirepass {password}
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
"""
_HEAD = "# Made at the first start. Keep it: the passwords are nowhere else, and the data cannot be reached without.\n"
_BAR = "=" * 78


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", metavar="PROJECT", help="make a key for PROJECT, in a deployment that has been set up")
    given = parser.parse_args()
    settings = given.folder / "agenttrace" / "agenttrace.toml"
    if given.key:
        if not settings.exists():
            sys.exit("nothing is set up here yet: start without --key first")
        text, key = settings.read_text(encoding="utf-8"), _Key(given.key)
        _write(settings, text + key.entry, 0o600)
        key.show("restart ingest and query, and it is known: docker compose restart ingest query")
    elif settings.exists():
        print("Set up already; the key was shown then. For another one: docker compose run --rm setup --key PROJECT")
    else:
        _set_up(given.folder, settings)


def _set_up(folder: Path, settings: Path) -> None:
    passwords = {server: secrets.token_urlsafe(24) for server in _SERVERS}
    key = _Key("default")
    # The settings come last: where they are, everything is.
    _write(folder / "minio" / "password", passwords["minio"], 0o644)
    _write(folder / "postgres" / "password", passwords["postgres"], 0o644)
    _write(folder / "redis" / "redis.conf", _REDIS.format(password=passwords["redis"]), 0o644)
    urls = [f'{name} = "{os.environ[f"SETUP_{name.upper()}"].format(**passwords)}"\n' for name in _BACKENDS]
    _write(
        settings,
        _HEAD + "".join(urls) + key.entry,
        0o600,
    )
    key.show("it is shown this once")


class _Key:
    """A new key of ``project``; the settings hold only its hash."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._key, digest = new_key(project)
        self.entry = f'\n[[auth.keys]]\nproject = "{project}"\nsha256 = "{digest}"\n'

    def show(self, note: str) -> None:
        print(
            f"{_BAR}\nThe key of project {self._project!r} ({note}):\n\n    {self._key}\n\n"
            "Send spans:  export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318\n"
            f'             export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer {self._key}"\n'
            "Read them:   export AGENTTRACE_API=http://localhost:8000\n"
            f"             export AGENTTRACE_API_KEY={self._key}\n"
            f"             agenttrace traces\n{_BAR}",
            flush=True,
        )


def _write(path: Path, text: str, mode: int) -> None:
    """Put a file in its place at once, whole, and never readable for more than ``mode`` says."""
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(mode)
    fresh.replace(path)


if __name__ == "__main__":
    main()
