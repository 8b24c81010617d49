"""The one place where adapters, services and doors meet: what each part of a server is made of.

Everything is made from ``Settings`` by synchronous providers, and opened in order by an
``AsyncExitStack``, which closes it in the reverse order however the part ends.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TypeVar, cast

from agenttrace_adapters.filesystem import CopiedStorage, FilesystemLiveTable
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.events import CATALOG, EventBus
from agenttrace_core.ports.index import SpanIndex, UsesCache
from agenttrace_core.ports.limiter import RateLimiter
from agenttrace_core.ports.live import LiveTable
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import LocalObjects, ObjectStorage, TieredObjects
from agenttrace_core.registry import make_adapter, schemes
from agenttrace_core.services.news import CatalogNews
from agenttrace_server.composition_injector import containers, providers
from agenttrace_server.live_folder import live_folder
from agenttrace_server.settings import Settings

RECEIPT_SECRET = "receipts"  # noqa: S105 - the name of a secret
"""The name of the catalog's secret with which receipts are signed."""

CURSOR_SECRET = "cursors"  # noqa: S105 - as above
"""The name of the one with which cursors are."""

A = TypeVar("A", bound=Adapter)


def url_of_events(settings: Settings) -> str:
    """Return what carries events: the cache where it is shared, or else the catalog where that can do it too."""
    catalog = settings.metadata.partition(":")[0]
    if settings.cache.startswith("memory:") and catalog in schemes("events"):
        return settings.metadata
    return settings.cache


class Adapters(containers.DeclarativeContainer):
    """The adapters that the settings choose, one of each in a process."""

    settings = providers.Dependency(instance_of=Settings)
    queue = providers.Singleton(make_adapter, "queue", settings.provided.queue)
    storage = providers.Singleton(make_adapter, "storage", settings.provided.storage)
    copied = providers.Singleton(
        CopiedStorage,
        storage,
        settings.provided.folder_of_copies,
        max_bytes=settings.provided.copies.max_bytes,
    )
    catalog = providers.Singleton(make_adapter, "metadata", settings.provided.metadata)
    index = providers.Singleton(make_adapter, "index", settings.provided.index)
    second_index = providers.Singleton(make_adapter, "index", settings.provided.index)
    limiter = providers.Singleton(make_adapter, "limiter", settings.provided.cache, key="cache")
    stand_in = providers.Singleton(make_adapter, "limiter", "memory:")
    cache = providers.Singleton(make_adapter, "cache", settings.provided.cache)
    url_of_events = providers.Callable(url_of_events, settings)
    events = providers.Singleton(make_adapter, "events", url_of_events, key="cache")
    folder_of_live = providers.Factory(
        live_folder, settings.provided.data, needed_bytes=settings.provided.write.live_bytes
    )
    live = providers.Singleton(FilesystemLiveTable, folder_of_live)


class Opened:
    """Adapters opened as they are asked for, and closed with the stack. Asking twice opens once.

    Raises, from each method:
        ConfigurationError: a backend cannot be used as configured, or cannot be shared by processes.
        UnavailableError: it does not answer.
    """

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._adapters = Adapters(settings=settings)
        self._stack = stack
        self._opened: set[int] = set()

    @property
    def follows_queue(self) -> bool:
        """Whether parts that run apart share nothing but the backends: each reads the queue for itself."""
        return cast("SpanQueue", self._adapters.queue()).capabilities.multi_machine

    async def queue(self) -> SpanQueue:
        """The span queue."""
        queue = cast("SpanQueue", self._adapters.queue())
        _refuse_unshared("queue", queue.capabilities.multi_process)
        return await self._open(queue)

    async def storage(self) -> ObjectStorage:
        """The object storage, with copies of its objects on this machine if they are elsewhere."""
        storage = await self.own_storage()
        return storage if isinstance(storage, LocalObjects) else await self._open(self._adapters.copied())

    async def tiers(self) -> TieredObjects | None:
        """The tiers of the object storage; None if it has none."""
        storage = await self.own_storage()
        return storage if isinstance(storage, TieredObjects) else None

    async def own_storage(self) -> ObjectStorage:
        """The object storage itself, with whatever else it is able to do."""
        storage = cast("ObjectStorage", self._adapters.storage())
        _refuse_unshared("storage", storage.capabilities.multi_process)
        return await self._open(storage)

    async def catalog(self, *, is_filled: bool = True) -> MetadataStore:
        """The catalog, and what else is metadata. One that is being moved to can be had by what fills it alone."""
        catalog = cast("MetadataStore", self._adapters.catalog())
        _refuse_unshared("metadata", catalog.capabilities.multi_process)
        await self._open(catalog)
        if is_filled:
            await _refuse_unfinished(catalog)
        return catalog

    async def index(self) -> SpanIndex:
        """The span index, attached to the storage."""
        return await self._open_index(cast("SpanIndex", self._adapters.index()))

    async def second_index(self) -> SpanIndex:
        """A span index of its own beside ``index``, whose views do not put those of queries out."""
        return await self._open_index(cast("SpanIndex", self._adapters.second_index()))

    async def _open_index(self, index: SpanIndex) -> SpanIndex:
        if id(index) not in self._opened:
            index.attach(await self.storage())
            if isinstance(index, UsesCache) and (cache := await self.cache()).capabilities.shared:
                index.use_cache(cache)
        return await self._open(index)

    async def limiter(self) -> RateLimiter:
        """The rate limiter."""
        return await self._open(cast("RateLimiter", self._adapters.limiter()))

    async def stand_in(self) -> RateLimiter:
        """The rate limiter for while the other is away."""
        return await self._open(cast("RateLimiter", self._adapters.stand_in()))

    async def cache(self) -> Cache:
        """The cache of hot look-ups."""
        return await self._open(cast("Cache", self._adapters.cache()))

    async def events(self) -> EventBus:
        """The event bus."""
        return await self._open(cast("EventBus", self._adapters.events()))

    async def news(self) -> CatalogNews:
        """News of the catalog, as far as something carries them between processes."""
        events = await self.events()
        if not events.capabilities.shared:
            return CatalogNews()
        return CatalogNews(events, await self._stack.enter_async_context(events.subscribe(CATALOG)))

    async def live(self) -> LiveTable:
        """The live table that the processes of this machine share."""
        return await self._open(cast("LiveTable", self._adapters.live()))

    async def _open(self, adapter: A) -> A:
        if id(adapter) not in self._opened:
            self._stack.push_async_callback(adapter.aclose)
            await adapter.open()
            self._opened.add(id(adapter))
        return adapter


async def _refuse_unfinished(catalog: MetadataStore) -> None:
    move = await catalog.move()
    if move is not None and not move.finished:
        raise ConfigurationError(
            "metadata: what another deployment holds is being moved here, and is not complete: run "
            "`agenttrace migrate` again, with the same --from"
        )


def _refuse_unshared(key: str, multi_process: bool) -> None:
    if not multi_process:
        raise ConfigurationError(
            f"{key}: this backend lives within one process, and a server is several: choose one that they can share"
        )
