"""Checks of the machine and the data folder. Each says what it found, and what to do if that is wrong."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from agenttrace_core import __version__
from agenttrace_core.errors import AgentTraceError, ConfigurationError
from agenttrace_server import datafolder
from agenttrace_server.doctor_backends import examine_backends
from agenttrace_server.doctor_files import files_finding
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings
from agenttrace_server.settings_units import format_size
from agenttrace_server.supervisor_sockets import listen

_LEAST_FREE = 1 * 2**30
_LITTLE_FREE = 10 * 2**30
_FSYNCS = 20
_SLOW_FSYNC_S = 0.020
_NEEDED = ("pyarrow", "duckdb", "grpcio", "fastapi", "uvloop", "zstandard", "protobuf")


def examine(settings: Settings) -> Iterator[Finding]:
    """Make every check. None changes anything; the fsync check writes into a file that it removes."""
    checks: list[Callable[[Settings], Finding]] = [
        _python, _packages, _ptars, _folder, _disk, _fsync, _clock, _ports, _open_files,
    ]  # fmt: skip
    for check in checks:
        yield check(settings)
    are_well = True
    for finding in examine_backends(settings):
        are_well = are_well and finding.verdict is not Verdict.WRONG
        yield finding
    if are_well and (files := files_finding(settings)) is not None:
        yield files


def _python(_: Settings) -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, agenttrace {__version__}"
    if platform.system() != "Linux":
        return Finding("python", Verdict.NOTE, found, "the server is made for Linux; elsewhere it is not tested")
    return Finding("python", Verdict.GOOD, found)


def _packages(_: Settings) -> Finding:
    missing = [name for name in _NEEDED if _version(name) is None]
    if missing:
        return Finding(
            "packages", Verdict.WRONG, f"missing: {', '.join(missing)}", "pip install 'agenttrace-platform[server]'"
        )
    return Finding("packages", Verdict.GOOD, ", ".join(f"{name} {_version(name)}" for name in _NEEDED))


def _ptars(_: Settings) -> Finding:
    try:
        import_module("ptars")
    except ImportError:
        return Finding(
            "decoder", Verdict.NOTE, "ptars has no wheel here: the plain decoder is used, several times slower",
            "use a platform for which ptars publishes wheels (Linux x86-64 or ARM64, CPython)",
        )  # fmt: skip
    return Finding("decoder", Verdict.GOOD, f"ptars {_version('ptars')}")


def _folder(settings: Settings) -> Finding:
    folder = settings.data
    if not folder.exists():
        return Finding("data folder", Verdict.GOOD, f"{folder} is not there yet; `agenttrace up` makes it")
    try:
        found = datafolder.read_format(folder)
        if found is not None and found > datafolder.FORMAT:
            raise ConfigurationError(f"format {found} of {folder} is newer than {datafolder.FORMAT}")
    except AgentTraceError as error:
        return Finding("data folder", Verdict.WRONG, str(error), "pip install -U agenttrace-platform")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "data folder", Verdict.WRONG, f"{folder} cannot be written to", f"chown it to user {os.getuid()}"
        )
    if found is None and any(folder.iterdir()):
        return Finding("data folder", Verdict.WRONG, f"{folder} holds other things", "choose an empty folder: --data")
    return Finding("data folder", Verdict.GOOD, f"{folder}, format {found or 'none yet'}")


def _disk(settings: Settings) -> Finding:
    place = _existing(settings.data)
    usage = shutil.disk_usage(place)
    found = f"{format_size(usage.free)} of {format_size(usage.total)} free at {place}"
    if usage.free < _LEAST_FREE:
        return Finding("disk", Verdict.WRONG, found, "make room, or choose another disk with --data")
    if usage.free < _LITTLE_FREE:
        return Finding("disk", Verdict.NOTE, found, "a busy server fills this within hours: watch it")
    return Finding("disk", Verdict.GOOD, found)


def _fsync(settings: Settings) -> Finding:
    try:
        took = _fsync_times(_existing(settings.data))
    except OSError as error:
        return Finding("fsync", Verdict.WRONG, f"cannot write: {error.strerror}", "see disk and data folder above")
    median = statistics.median(took)
    found = f"median {median * 1e3:.2f} ms, longest {max(took) * 1e3:.2f} ms ({_FSYNCS} of 64 KiB)"
    if median > _SLOW_FSYNC_S:
        return Finding(
            "fsync", Verdict.NOTE, found, "every acknowledgement waits for one: an SSD on this machine is faster"
        )
    return Finding("fsync", Verdict.GOOD, found)


def _fsync_times(place: Path) -> list[float]:
    block = os.urandom(2**16)
    took: list[float] = []
    with tempfile.NamedTemporaryFile(dir=place, prefix=".agenttrace-doctor-") as file:
        for _ in range(_FSYNCS):
            file.write(block)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return took


def _clock(settings: Settings) -> Finding:
    now = datetime.now(UTC)
    found = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    newest = _newest_ns(settings.data)
    if now.year < 2025:
        advice = "set the clock: spans are filed by time (timedatectl set-ntp true)"
        return Finding("clock", Verdict.WRONG, found, advice)
    if newest - time.time_ns() > 60_000_000_000:
        return Finding(
            "clock", Verdict.WRONG, f"{found}, but the data folder was written to later than that",
            "the clock went back: let NTP set it (timedatectl set-ntp true)",
        )  # fmt: skip
    return Finding("clock", Verdict.GOOD, found)


def _ports(settings: Settings) -> Finding:
    if datafolder.read_endpoints(settings.data) is not None and _is_locked(settings.data):
        return Finding("ports", Verdict.GOOD, "in use by the server that runs on this data folder")
    wanted = (
        ("query.port", settings.query.host, settings.query.port),
        ("ingest.port", settings.ingest.host, settings.ingest.port),
        ("ingest.grpc_port", settings.ingest.host, settings.ingest.grpc_port),
    )
    taken: list[str] = []
    for key, host, port in wanted:
        try:
            listen(key, host, port, wait_s=0.0).close()
        except ConfigurationError as error:
            taken.append(str(error))
    if taken:
        return Finding("ports", Verdict.WRONG, "; ".join(taken), "or say --port, --otlp-port, --grpc-port")
    return Finding("ports", Verdict.GOOD, ", ".join(f"{host}:{port}" for _, host, port in wanted) + " are free")


def _open_files(_: Settings) -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 and soft != resource.RLIM_INFINITY:
        advice = f"ulimit -n {min(hard, 65536)} allows more senders"
        return Finding("open files", Verdict.NOTE, f"at most {soft}", advice)
    return Finding("open files", Verdict.GOOD, f"at most {soft}")


def _is_locked(folder: Path) -> bool:
    lock = datafolder.folder_lock(folder)
    try:
        lock.acquire()
    except (ConfigurationError, OSError):
        return True
    lock.release()
    return False


def _newest_ns(folder: Path) -> int:
    try:
        return max((entry.stat().st_mtime_ns for entry in folder.iterdir()), default=0)
    except OSError:
        return 0


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
