"""What can be odd about a span that is stored all the same."""

from __future__ import annotations

from enum import IntFlag


class Quality(IntFlag):
    """Bits of the ``quality`` column: a span that has one is kept, and says so."""

    NO_START = 1
    NO_END = 2
    END_BEFORE_START = 4
    ABSURD_START = 8
    """Start before 2000 or more than a day after it was received: its window is that of its receipt."""
    BAD_UTF8 = 16
    """A text was not UTF-8; it is shown with U+FFFD, and kept as received."""
    UNKNOWN_KIND = 32
    UNKNOWN_STATUS = 64
    BAD_PARENT = 128
    """The parent's id has a wrong length: the span is shown as a root."""
    RUNNING = 256
    """Sent at its start, marked as not over: an end that it names does not count."""
    COUNTED_BELOW = 512
    """Its dialect says that its tokens are those of spans below it: they never count."""


UNENDED = Quality.NO_END | Quality.RUNNING
"""Of a span that has one of these, no end is known: it runs, or nobody has heard of its end."""
