"""Text that a machine made and that compresses like English.

Words follow Zipf's law, and phrases come again as they do in people's writing; without the
second a compressor finds less than it would in real prompts and answers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEMS = """
the of and to in is it for that on with as are be this from at or by an not can will has have we you
your if all when which their one would about there what out up time no only more some them into could
than other then now its over also after use two how our work first well way even new want because any
these give day most us agent model tool search query result answer question user order ship refund
account customer policy document summary plan step check review report error retry budget price total
date flight hotel booking city weather market stock company revenue growth quarter data table column
row index file folder path code function class method test branch commit merge build deploy server
client request response token prompt context message history memory vector score rank source cite
paragraph section article author topic draft edit translate language image audio video chart graph
number value field type format schema valid invalid missing empty full large small fast slow high low
open close start stop begin end create update delete read write send receive connect load save find
compare select filter group sort count measure explain describe suggest confirm cancel approve reject
likely possible important relevant similar different recent previous following current final several
""".split()  # noqa: SIM905 - a page of words is read as a page of words
_ENDINGS = ("", "s", "ed", "ing", "er", "ly", "ment", "able", "ness", "al")
_STOPS = (" ", " ", " ", " ", " ", " ", " ", ", ", ", ", ". ")
_PHRASES = 6_000
_PHRASE_WORDS = 7
_PHRASE_SHARE = 0.015  # of the pieces, which makes a tenth of the words
_BYTES_A_PIECE = 7


def prose(rng: np.random.Generator, length: int) -> bytes:
    """Return ``length`` bytes of ASCII prose that JSON needs not escape."""
    words = _STEMS + [stem + ending for ending in _ENDINGS[1:] for stem in _STEMS if len(stem) > 3]
    pieces = [word + stop for word in words for stop in _STOPS]

    def draw(count: int) -> npt.NDArray[np.int64]:
        stops: npt.NDArray[np.int64] = rng.integers(0, len(_STOPS), count)
        return _zipf(rng, len(words), count, 0.85) * len(_STOPS) + stops

    phrases = ["".join(pieces[piece] for piece in draw(_PHRASE_WORDS).tolist()) for _ in range(_PHRASES)]
    text: list[str] = []
    made = 0
    while made < length:
        count = (length - made) // _BYTES_A_PIECE + 1_000
        chosen = draw(count)
        again = rng.random(count) < _PHRASE_SHARE
        chosen[again] = len(pieces) + _zipf(rng, _PHRASES, int(again.sum()), 0.6)
        text.append("".join(map((pieces + phrases).__getitem__, chosen.tolist())))
        made += len(text[-1])
    return "".join(text).encode()[:length]


def _zipf(rng: np.random.Generator, ranks: int, count: int, exponent: float) -> npt.NDArray[np.int64]:
    """Draw ``count`` ranks below ``ranks``, the k-th with a chance near 1 / (k+1)**exponent.

    By inversion of the continuous law, which needs no table and is exact enough for text.
    """
    power = 1.0 - exponent
    drawn: npt.NDArray[np.float64] = (1.0 + rng.random(count) * (ranks**power - 1.0)) ** (1.0 / power)
    return np.minimum(drawn.astype(np.int64) - 1, ranks - 1)
