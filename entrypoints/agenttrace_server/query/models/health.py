"""Whether the server serves."""

from __future__ import annotations

from agenttrace_server.query.models.common import Model


class Health(Model):
    """Whether each part of the server serves."""

    status: str
    parts: dict[str, bool]
