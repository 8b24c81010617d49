"""Regular expressions of callers: RE2's, which take time in proportion to the text whatever they say."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

MAX_PATTERN = 1000
"""The most characters of a regular expression."""

_TEXT = pa.array([""])


def problem_of(pattern: str) -> str | None:
    """Return what is wrong with a regular expression; None if nothing is.

    Arrow and DuckDB both execute them by RE2, which has neither look-around nor back-references, and
    refuses what would grow too large; so what it compiles here runs everywhere.
    """
    if len(pattern) > MAX_PATTERN:
        return f"a regular expression may have {MAX_PATTERN:,} characters; this one has {len(pattern):,}"
    try:
        pc.match_substring_regex(_TEXT, pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        return f"RE2 does not take this regular expression: {reason.splitlines()[0][:120]}"
    return None


def glob_pattern(glob: str) -> str:
    """Return the regular expression that a glob is: of the whole text, and of more than one line."""
    return "(?s)^" + ".*".join(_escaped(part) for part in glob.split("*")) + "$"


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" or ord(c) > 127 else f"\\x{{{ord(c):x}}}" for c in text)
