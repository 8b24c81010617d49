"""The refused, looked at and sent again by those to whom they belong."""

from __future__ import annotations

from collections.abc import Sequence

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.principal import Principal
from agenttrace_core.ports.catalog import DeadLetter, DeadLetters
from agenttrace_core.ports.queue import Signal
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.ingest import Ingested, IngestService
from agenttrace_core.services.refusals import RefusedInput
from agenttrace_core.wire.status import Encoding


class LetterService:
    """Dead letters of one project at a time.

    Args:
        catalog: which letters there are.
        storage: where their bytes are.
        ingest: takes what is sent again.
    """

    def __init__(self, catalog: DeadLetters, storage: ObjectStorage, ingest: IngestService) -> None:
        self._catalog = catalog
        self._storage = storage
        self._ingest = ingest

    async def list(
        self, principal: Principal, *, limit: int, before: str | None = None
    ) -> tuple[Sequence[DeadLetter], str | None]:
        """Return the newest letters below ``before``, and the id to go on from, None at the end."""
        letters = await self._catalog.dead_letters(principal.project, limit=limit + 1, before=before)
        return letters[:limit], letters[limit - 1].id if len(letters) > limit else None

    async def get(self, principal: Principal, letter_id: str) -> DeadLetter:
        """Return one.

        Raises:
            NotFoundError: the project has none by that id.
        """
        return await self._catalog.dead_letter(principal.project, letter_id)

    async def body(self, principal: Principal, letter_id: str) -> RefusedInput:
        """Return what was refused.

        Raises:
            NotFoundError: the project has none by that id, or its bytes were not kept.
        """
        letter = await self.get(principal, letter_id)
        refused = (
            None if letter.object is None else RefusedInput.from_record(await self._storage.get(letter.object.key))
        )
        if refused is None or not refused.body:
            raise NotFoundError(f"of dead letter {letter_id} only the reason was kept")
        return refused

    async def replay(self, principal: Principal, letter_id: str) -> Ingested:
        """Send it again, as if it had just come; what is accepted now is no dead letter any more.

        What is refused again becomes a new one.

        Raises:
            NotFoundError: the project has none by that id, or its bytes were not kept.
            InvalidInputError: it still cannot be read; the letter is kept.
            OverloadedError, UnavailableError: there is no room now; the letter is kept.
        """
        refused = await self.body(principal, letter_id)
        store = self._ingest.logs if refused.signal is Signal.LOGS else self._ingest.traces
        ingested = await store(principal, _request(refused), refused.encoding)
        if ingested.accepted:
            await self.drop(principal, letter_id)
        return ingested

    async def drop(self, principal: Principal, letter_id: str) -> None:
        """Forget it for good.

        Raises:
            NotFoundError: the project has none by that id.
        """
        await self.get(principal, letter_id)
        await self._catalog.drop_dead_letters(principal.project, [letter_id])


def _request(refused: RefusedInput) -> bytes:
    """Return a whole request: of a JSON request that was refused in part, the refused items were kept as an array."""
    body = refused.body.lstrip()
    if refused.encoding is not Encoding.JSON or not body.startswith(b"["):
        return refused.body
    if refused.signal is Signal.LOGS:
        return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":' + body + b"}]}]}"
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":' + body + b"}]}]}"
