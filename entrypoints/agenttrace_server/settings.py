"""What an operator can choose. Every key ``a.b`` is also the variable ``AGENTTRACE_A__B``.

The values come from ``settings_sources.resolve``; what stands here is their shape, their
defaults and what they mean. Durations are seconds and sizes bytes once validated; both are
written as in ``"5s"`` and ``"64MiB"``.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.principal import check_project
from agenttrace_server.hosts import is_loopback
from agenttrace_server.settings_units import Duration, Size

DEFAULT_DATA = Path("agenttrace-data")


def _project(name: str) -> str:
    try:
        return check_project(name)
    except InvalidInputError as error:
        raise ValueError(str(error)) from error


def _sha256(digest: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest) is None:
        raise ValueError("wanted are the 64 hex digits of a key's SHA-256, as `agenttrace key new PROJECT` prints them")
    return digest.lower()


Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes a free one."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuthKey(_Section):
    """A key that callers send as ``Authorization: Bearer KEY``, known here by its SHA-256 only."""

    project: Annotated[str, AfterValidator(_project)]
    sha256: Annotated[str, AfterValidator(_sha256)]


class AuthSettings(_Section):
    """Who may call."""

    keys: tuple[AuthKey, ...] = Field(
        default=(), description="[{project, sha256}]; `agenttrace key new PROJECT` makes one"
    )
    local: bool = Field(
        default=True, description="whether callers on this machine need no key, and are of project `default`"
    )


class IngestSettings(_Section):
    """The doors through which spans come."""

    host: str = Field(default="127.0.0.1", description="address on which OTLP/HTTP and OTLP/gRPC are served")
    port: Port = Field(default=4318, description="port of OTLP/HTTP; 0 takes a free one")
    grpc_port: Port = Field(default=4317, description="port of OTLP/gRPC; 0 takes a free one")
    max_body_bytes: Size = Field(default=20 * 2**20, ge=1024, description="longest request body as sent")
    max_decompressed_bytes: Size = Field(
        default=20 * 2**20, ge=1024, description="longest request body once decompressed"
    )
    max_backlog_bytes: Size = Field(
        default=2 * 2**30,
        ge=2**20,
        description="acknowledged bytes that may wait for the writer, before 429 is answered",
    )
    max_in_flight_bytes: Size = Field(
        default=256 * 2**20, ge=2**20, description="bodies held in memory at once, per process"
    )
    project_bytes_per_s: Size = Field(default=0, description="bytes a second that one project may send; 0 is no bound")
    project_burst_bytes: Size = Field(
        default=64 * 2**20, ge=1, description="bytes that a project may send at once, above that"
    )
    body_timeout: Duration = Field(default=30.0, gt=0, description="a request whose body takes longer is refused")
    max_connections: int = Field(default=4096, ge=1, description="connections open at once")
    allowed_origins: tuple[str, ...] = Field(
        default=(), description="web origins that may send spans from a browser; none means those of loopback"
    )


class QuerySettings(_Section):
    """The API."""

    host: str = Field(default="127.0.0.1", description="address on which the API is served")
    port: Port = Field(default=8000, description="port of the API; 0 takes a free one")
    timeout: Duration = Field(default=30.0, gt=0, description="a question that takes longer is given up")
    concurrent: int = Field(default=8, ge=1, description="questions worked on at once; some more wait, others get 429")
    max_rows: int = Field(default=100_000, ge=1, description="rows of an answer that does not come in pages")
    streams: int = Field(default=256, ge=1, description="live streams and exports open at once")
    live_bytes: Size = Field(
        default=512 * 2**20,
        ge=2**20,
        description="spans in memory that are not in files yet, where a query process follows the queue by itself",
    )
    broken_after: Duration = Field(
        default=600.0, gt=0, description="silence after which a trace whose root has not come counts as broken"
    )


class WriteSettings(_Section):
    """How acknowledged spans become files."""

    flush_bytes: Size = Field(default=64 * 2**20, ge=2**16, description="write files once this much has been received")
    flush_age: Duration = Field(default=10.0, gt=0, description="write files once the oldest span has waited this long")
    lease: Duration = Field(
        default=10.0,
        ge=1,
        description="of several writers, time after which others take over from one that does not answer",
    )

    @property
    def live_bytes(self) -> int:
        """What the live table may hold: what is being collected, encoded and stored, and a chunk."""
        return 4 * self.flush_bytes


class CompactSettings(_Section):
    """How small files become large ones."""

    interval: Duration = Field(default=1.0, gt=0, description="time between two looks for something to merge")
    fan_in: int = Field(default=8, ge=2, description="files of one level and window that are merged at once")
    max_file_bytes: Size = Field(default=2**28, ge=2**20, description="a merged file should not exceed this")
    settle: Duration = Field(default=600.0, ge=0, description="time after a window's end at which its files become one")
    grace: Duration = Field(
        default=300.0, gt=0, description="time for which replaced files stay, longer than any query"
    )


class CopiesSettings(_Section):
    """Copies, on this machine's disk, of objects that are elsewhere. The processes of a machine share them."""

    folder: Path | None = Field(
        default=None, description="folder of copies of what is on S3; `copies/` in the data folder if not given"
    )
    max_bytes: Size = Field(
        default=8 * 2**30, ge=2**20, description="bytes of such copies; what one question needs at once may exceed them"
    )


class ProjectRetention(_Section):
    """What one project keeps."""

    project: str
    expire_after: Duration = Field(gt=0)


class ProjectTiers(_Section):
    """When one project's payloads go to which tier; what is not given is as for all."""

    project: str
    infrequent_after: Duration | None = Field(default=None, ge=0)
    glacier_after: Duration | None = Field(default=None, ge=0)
    deep_archive_after: Duration | None = Field(default=None, ge=0)


class TierSettings(_Section):
    """Payloads by age in tiers that cost less to keep, where the storage has some. Light rows stay where they are."""

    enabled: bool = Field(default=False, description="whether payloads are moved into other storage classes by age")
    infrequent_after: Duration = Field(
        default=7 * 86400.0, ge=0, description="age at which payloads go to infrequent access (STANDARD_IA)"
    )
    glacier_after: Duration = Field(
        default=30 * 86400.0, ge=0, description="age at which they go to GLACIER; to be read, they are restored first"
    )
    deep_archive_after: Duration = Field(default=90 * 86400.0, ge=0, description="age at which they go to DEEP_ARCHIVE")
    projects: tuple[ProjectTiers, ...] = Field(
        default=(),
        description="the same for single projects: a list of {project, infrequent_after, glacier_after, …}",
    )


class RetentionSettings(_Section):
    """How long spans are kept. What has expired is deleted by compaction."""

    expire_after: Duration | None = Field(
        default=None, gt=0, description="age at which spans are deleted, by hours; kept for ever if not given"
    )
    projects: tuple[ProjectRetention, ...] = Field(
        default=(), description="the same for single projects: a list of {project, expire_after}"
    )
    tiers: TierSettings = TierSettings()


Rate = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=18)]
"""US dollars per million tokens."""


class OwnPriceSettings(_Section):
    """What a model costs here, in dollars per million tokens. A part that is not given is priced as what it is of."""

    # The processes of a server hand their settings on as they are dumped.
    model_config = ConfigDict(serialize_by_alias=True)

    model: str = Field(min_length=1, max_length=256)
    provider: str | None = Field(default=None, min_length=1, max_length=256)
    since: date | None = Field(default=None, alias="from")
    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    input_audio: Rate | None = None
    reasoning: Rate | None = None
    output_audio: Rate | None = None


class PriceSettings(_Section):
    """What calls cost, where the package ``genai-prices`` does not know it, or not as well."""

    own: tuple[OwnPriceSettings, ...] = Field(
        default=(),
        description="your own prices, which go before the listed ones: a list of {model, input, output, …}, in US "
        "dollars per million tokens",
    )


class MetricsSettings(_Section):
    """Where a part without a port of its own, run apart, says how it is: ``write`` and ``compact``."""

    host: str = Field(default="127.0.0.1", description="address of the port for health and figures")
    port: Port | None = Field(
        default=None,
        description="port on which `agenttrace write` and `agenttrace compact` answer /healthz, /readyz and /metrics; "
        "none if not given",
    )


class LogSettings(_Section):
    """The service's own log: JSON lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is written"
    )


class Settings(_Section):
    """All of it, frozen. The five URLs choose the backends; by default they lie in the data folder."""

    data: Path = Field(default=DEFAULT_DATA, description="the data folder")
    queue: str = Field(default="", description="span queue: log:PATH, or kafka://HOST:9092/TOPIC")
    storage: str = Field(default="", description="object storage: file:PATH, s3://BUCKET/PREFIX")
    metadata: str = Field(
        default="", description="catalog: sqlite:PATH, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )
    index: str = Field(default="duckdb:", description="span index: duckdb:")
    cache: str = Field(default="memory:", description="rate limits, cache and event bus: memory:, redis://HOST/0")
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="names under which callers may reach the ports, besides loopback and the addresses bound",
    )
    auth: AuthSettings = AuthSettings()
    ingest: IngestSettings = IngestSettings()
    query: QuerySettings = QuerySettings()
    write: WriteSettings = WriteSettings()
    compact: CompactSettings = CompactSettings()
    copies: CopiesSettings = CopiesSettings()
    retention: RetentionSettings = RetentionSettings()
    prices: PriceSettings = PriceSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @property
    def folder_of_copies(self) -> Path:
        """Where copies are of objects that are elsewhere."""
        return self.copies.folder or self.data / "copies"

    @model_validator(mode="before")
    @classmethod
    def _urls_in_the_data_folder(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        data = Path(given.get("data") or DEFAULT_DATA).expanduser().absolute()
        beside = {
            "queue": f"log:{data / 'log'}",
            "storage": f"file:{data / 'objects'}",
            "metadata": f"sqlite:{data / 'catalog.sqlite'}",
        }
        return {**beside, **{key: value for key, value in given.items() if value != ""}, "data": data}

    @field_validator("queue", "storage", "metadata", "index", "cache")
    @classmethod
    def _has_a_scheme(cls, url: str) -> str:
        if re.match(r"[a-z][a-z0-9+.-]*:", url) is None:
            raise ValueError("wanted is a URL whose scheme names the adapter, such as log:PATH, file:PATH or duckdb:")
        return url

    @model_validator(mode="after")
    def _open_to_others_only_with_keys(self) -> Self:
        for key, host in (("ingest.host", self.ingest.host), ("query.host", self.query.host)):
            if not self.auth.keys and not is_loopback(host):
                raise ValueError(
                    f"{key} = {host!r} lets other machines in, and auth.keys is empty: make a key with "
                    "`agenttrace key new PROJECT` and put what it prints into agenttrace.toml, or bind 127.0.0.1"
                )
        return self
