"""A query's text, read from left to right: words, quoted texts and regular expressions, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from agenttrace_core.query.caret import query_error

MAX_BYTES = 10_240

QUOTES = "\"'"
_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"""[^\s(){}"'<>=:!~](?:[^\s(){}"<>=:!]|!(?!=))*""")
_VALUE = re.compile(r"""(?:\\.|[^\s(){}"\\]|\\$)+""", re.DOTALL)
_OPERATOR = re.compile(r":(?:[<>]=?|!?=)?|[<>]=?|!?=")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class Style(Enum):
    """How a text was written."""

    BARE = "bare"
    """As it is: it may be a number, or have a ``*`` in it."""
    QUOTED = "quoted"
    """In quotes: it is itself."""
    REGEX = "regex"
    """Between slashes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the query: ``text`` is what it means, ``position`` and ``end`` where it stands."""

    text: str
    style: Style
    position: int
    end: int


class Scanner:
    """The text, and how far it has been read.

    Raises:
        QueryError: the text is too long, or holds a character that no text can.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self._check()

    def _check(self) -> None:
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError as error:
            raise query_error(self.text, error.start, "this is no Unicode character: half of a pair") from error
        if size > MAX_BYTES:
            at = min(MAX_BYTES, len(self.text) - 1)
            self.fail(f"the query is {size:,} bytes long; {MAX_BYTES:,} are the most that is taken", at)
        if "\0" in self.text:
            self.fail("a query can't hold the character U+0000", self.text.index("\0"))

    def fail(self, problem: str, position: int | None = None, *, length: int = 1, note: str = "") -> NoReturn:
        """Refuse the text.

        Raises:
            QueryError: always.
        """
        at = self.position if position is None else position
        raise query_error(self.text, at, problem, length=length, note=note)

    def refuse(self, problem: str, token: Token, *, note: str = "") -> NoReturn:
        """Refuse a token of the text.

        Raises:
            QueryError: always.
        """
        self.fail(problem, token.position, length=token.end - token.position, note=note)

    def skip_space(self) -> None:
        """Go on to the next character that is no space."""
        found = _SPACE.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def at(self, *texts: str) -> bool:
        """Say whether one of ``texts`` comes next."""
        return self.text.startswith(texts, self.position)

    def at_space(self) -> bool:
        """Say whether a space comes next."""
        return self.text[self.position : self.position + 1].isspace()

    def at_end(self) -> bool:
        """Say whether all of the text has been read."""
        return self.position >= len(self.text)

    def take(self, text: str) -> bool:
        """Read ``text`` if it comes next."""
        if not self.at(text):
            return False
        self.position += len(text)
        return True

    def at_word(self, word: str) -> bool:
        """Say whether a keyword comes next, as a word of its own."""
        end = self.position + len(word)
        return self.at(word) and (end == len(self.text) or self.text[end].isspace() or self.text[end] in "(){}\"'")

    def take_word(self, word: str) -> bool:
        """Read a keyword if it comes next."""
        if not self.at_word(word):
            return False
        self.position += len(word)
        return True

    def key(self) -> Token | None:
        """Read what can be a field's name or a word of free text; None if neither comes next."""
        return self._match(_KEY, Style.BARE)

    def operator(self) -> Token | None:
        """Read ``:``, a comparison, or a ``:`` with a comparison after it; None if neither comes next."""
        return self._match(_OPERATOR, Style.BARE)

    def value(self) -> Token | None:
        """Read a value: bare, quoted or a regular expression; None if there is none.

        Raises:
            QueryError: its quote or slash is not closed.
        """
        if self.at(*QUOTES):
            return self.quoted()
        if self.at("/"):
            return self._regex()
        return self.bare()

    def bare(self) -> Token | None:
        """Read a bare value, with its escapes as they stand; None if there is none."""
        return self._match(_VALUE, Style.BARE)

    def quoted(self) -> Token:
        r"""Read a text in quotes. ``\`` before ``\``, ``n``, ``t``, ``r`` or a quote is that; elsewhere itself.

        Raises:
            QueryError: the quote is not closed.
        """
        start, quote = self.position, self.text[self.position]
        at, parts = start + 1, list[str]()
        while at < len(self.text) and self.text[at] != quote:
            meant = _ESCAPES.get(self.text[at + 1 : at + 2]) if self.text[at] == "\\" else None
            parts.append(meant or self.text[at])
            at += 2 if meant else 1
        if at >= len(self.text):
            self.fail("this quote is not closed", start)
        self.position = at + 1
        return Token("".join(parts), Style.QUOTED, start, self.position)

    def end_of_term(self) -> None:
        """Check that what was read ends here.

        Raises:
            QueryError: more is attached to it.
        """
        if not (self.at_end() or self.text[self.position].isspace() or self.at(")", "}")):
            self.fail("put a space before this, or quotes around all of the text that it belongs to")

    def _regex(self) -> Token:
        start = self.position
        at, parts = start + 1, list[str]()
        while at < len(self.text) and self.text[at] != "/":
            if self.text.startswith("\\", at):
                # Only the slash is ours to unescape; all else is the expression's.
                parts.append("/" if self.text.startswith("\\/", at) else self.text[at : at + 2])
                at += 2
            else:
                parts.append(self.text[at])
                at += 1
        after = self.text[at + 1 : at + 2]
        if at >= len(self.text) or not (after == "" or after.isspace() or after in ")}"):
            self.fail("what begins with / is a regular expression and ends with /; put a path into quotes", start)
        self.position = at + 1
        return Token("".join(parts), Style.REGEX, start, self.position)

    def _match(self, pattern: re.Pattern[str], style: Style) -> Token | None:
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return Token(found.group(), style, found.start(), found.end())
