"""What moves one deployment to another is made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from agenttrace_adapters.memory import MemoryLiveTable
from agenttrace_core.errors import ConfigurationError, WatermarkConflictError
from agenttrace_core.registry import without_password
from agenttrace_core.services.migrate import Deployment, MigrateProgress, MigrateService
from agenttrace_core.services.migrate_check import Checked
from agenttrace_core.services.write import WriteService
from agenttrace_server import datafolder
from agenttrace_server.composition import Opened
from agenttrace_server.composition_prices import pricing_of
from agenttrace_server.composition_writer import write_config
from agenttrace_server.settings import Settings
from agenttrace_server.settings_sources import resolve


def settings_of(place: Path) -> Settings:
    """Return the settings of a configuration file, or those of a data folder with nothing configured.

    The environment has no say: it could not mean one of two deployments.

    Raises:
        ConfigurationError: there is no such file, or a setting is wrong.
    """
    if place.is_dir():
        return Settings.model_validate({"data": place})
    return resolve(config=place, environ={}).settings


async def run_migrate(source: Settings, target: Settings, progress: MigrateProgress) -> Sequence[Checked]:
    """Move what ``source`` holds to ``target``; see ``MigrateService.run``.

    Raises:
        ConfigurationError: one of the two runs, the source is not there, or they are one.
    """
    _refuse_the_same(source, target)
    with ExitStack() as locks:
        _lock(locks, source, "--from")
        _lock(locks, target, "--to")
        async with AsyncExitStack() as stack:
            opened = Opened(source, stack)
            held = Deployment(await opened.queue(), await opened.storage(), await opened.catalog())
            await _refuse_running(held, "--from")
            await _write_what_waits(source, opened, held, progress)
            others = Opened(target, stack)
            empty = Deployment(await others.queue(), await others.storage(), await others.catalog(is_filled=False))
            await _refuse_running(empty, "--to")
            return await MigrateService(held, empty, progress).run()


async def _write_what_waits(settings: Settings, opened: Opened, held: Deployment, progress: MigrateProgress) -> None:
    """Have all that the queue holds be in files, as a writer that is told to stop does."""
    _, watermarks = await held.catalog.watermarks()
    ends = await held.queue.end_offsets()
    if all(end <= watermarks.get(partition, 0) for partition, end in ends.items()):
        return
    progress.begin("what waits in the queue", 0)
    writer = WriteService(
        queue=held.queue,
        catalog=held.catalog,
        storage=held.storage,
        live=MemoryLiveTable(),
        index=await opened.index(),
        config=write_config(settings),
        pricing=pricing_of(settings),
    )
    writer.drain()
    try:
        await writer.run()
    except ExceptionGroup as failures:
        if failures.subgroup(WatermarkConflictError):
            raise ConfigurationError("--from: another writer is at work there: stop it first") from failures
        raise


def _lock(locks: ExitStack, settings: Settings, option: str) -> None:
    folder = settings.data
    if option == "--from" and datafolder.read_format(folder) is None and _uses_folder(settings):
        raise ConfigurationError(f"--from: {folder} is no data folder of AgentTrace")
    datafolder.check(folder)
    datafolder.mark(folder)
    locks.enter_context(datafolder.folder_lock(folder)).acquire()
    locks.enter_context(datafolder.writer_lock(folder)).acquire()


def _uses_folder(settings: Settings) -> bool:
    urls = (settings.queue, settings.storage, settings.metadata)
    return any(str(settings.data) in url for url in urls)


def _refuse_the_same(source: Settings, target: Settings) -> None:
    if source.data.resolve() == target.data.resolve():
        raise ConfigurationError(f"--from and --to have the same data folder, {source.data}: give the target its own")
    if source.metadata == target.metadata:
        where = without_password(source.metadata)
        raise ConfigurationError(f"--from and --to have the same metadata, {where}: there is nothing to move")


async def _refuse_running(deployment: Deployment, option: str) -> None:
    """Refuse what a process elsewhere works on; who takes spans has no lease, and is found out by what it takes."""
    leases = await deployment.catalog.leases()
    if leases:
        names = ", ".join(sorted(set(leases.values())))
        raise ConfigurationError(
            f"{option}: in use by {names}: stop these, or wait until what they have leased is free"
        )
