"""One request to the receiver, with what OTLP says of trying again."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agenttrace.settings import Settings

if TYPE_CHECKING:
    import requests

_log = logging.getLogger("agenttrace")

_RETRYABLE: Final = frozenset({408, 429, 502, 503, 504})
_FIRST_S, _MOST_S = 0.25, 10.0
_REASON_CHARS: Final = 300
_CHANCE: Final = random.SystemRandom()
"""Spreads retries. Not the module's own generator: a program that seeds it must draw the same beside us."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a request.

    ``done``: the receiver has answered for good; with ``accepted``, it has the items. Otherwise the time ran out.
    """

    done: bool
    accepted: bool
    reason: str = ""
    body: bytes = b""
    too_large: bool = False
    answered: bool = True


class Transport:
    """Sends requests over kept-alive connections. Constructed without I/O.

    Args:
        settings: headers, compression and the time that a request may take.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: requests.Session | None = None
        self._last = math.inf
        self._hurried = threading.Event()
        self._closing = threading.Event()

    def send(self, url: str, body: bytes, deadline: float) -> Outcome:
        """Send ``body`` until the receiver has answered for good, or until ``deadline`` (monotonic seconds).

        429 and 503 are obeyed: the next try comes when ``Retry-After`` says. A receiver that does not answer at
        all is tried again until ``hurry`` is called, and once more then.
        """
        headers = {"content-type": "application/x-protobuf", **self._settings.headers}
        if self._settings.gzip:
            import gzip

            body = gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
        wait = _FIRST_S
        while True:
            was_in_a_hurry = self._hurried.is_set()
            outcome, after = self._try(url, body, headers, min(deadline, self._last))
            if outcome.done or (was_in_a_hurry and not outcome.answered):
                return outcome
            pause = wait * _CHANCE.uniform(0.5, 1.0) if after is None else after
            if not self._paused(pause, deadline, answered=outcome.answered):
                return outcome
            wait = min(2 * wait, _MOST_S)

    def hurry(self, deadline: float) -> None:
        """Be done by ``deadline`` (monotonic seconds) with everything, because the program ends."""
        self._last = deadline
        self._hurried.set()

    def close(self) -> None:
        """Let go of connections, and of waiting."""
        self._closing.set()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def forget(self) -> None:
        """Drop connections without a word: in the child of a fork they are the parent's."""
        self._session = None
        self._last = math.inf
        self._hurried, self._closing = threading.Event(), threading.Event()

    def _paused(self, pause: float, deadline: float, *, answered: bool) -> bool:
        """Wait before the next try, and say whether there is one."""
        again = time.monotonic() + pause
        if again < min(deadline, self._last) and not self._hurried.is_set():
            self._hurried.wait(pause)
        if not answered and self._hurried.is_set():
            again = 0.0  # whoever is in a hurry does not wait for what may not be there, but looks once more
        if again >= min(deadline, self._last):
            return False
        return not self._closing.wait(max(0.0, again - time.monotonic()))

    def _try(self, url: str, body: bytes, headers: dict[str, str], deadline: float) -> tuple[Outcome, float | None]:
        import requests

        session = self._session
        if session is None:
            session = self._session = requests.Session()
            # Otherwise requests puts what a .netrc says in place of the key.
            session.auth = _as_it_is
            session.verify = self._settings.certificate or True
            session.cert = self._settings.client_certificate
        timeout = max(0.05, min(self._settings.timeout_s, deadline - time.monotonic()))
        try:
            with session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
                return _outcome(response)
        except (requests.RequestException, OSError) as error:
            return Outcome(
                done=False, accepted=False, reason=f"{url} does not answer: {_short(error)}", answered=False
            ), None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _outcome(response: requests.Response) -> tuple[Outcome, float | None]:
    status = response.status_code
    if status // 100 == 2:
        return Outcome(done=True, accepted=True, body=response.content, reason=_readable(response.content)), None
    reason = f"the receiver answered {status}: {_readable(response.content)}"
    if status in _RETRYABLE:
        return Outcome(done=False, accepted=False, reason=reason), _retry_after(response.headers.get("retry-after"))
    return Outcome(done=True, accepted=False, reason=reason, too_large=status == 413), None


def _retry_after(text: str | None) -> float | None:
    """Seconds that a ``Retry-After`` (RFC 9110, section 10.2.3) asks for; None if it asks for none."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _readable(body: bytes) -> str:
    text = body[:_REASON_CHARS].decode("utf-8", "ignore")
    return "".join(char for char in text if char.isprintable()).strip()


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + "…"
