"""Text that a machine made and that compresses like English.

Words follow Zipf's law, and phrases come again as they do in people's writing; without the
second a compressor finds less than it would in real prompts and answers.
"""

from __future__ import annotations

import numpy as np

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
_STOPS = np.array([" ", " ", " ", " ", " ", " ", " ", ", ", ", ", ". "])
_PHRASES = 6_000
_PHRASE_WORDS = 7
_PHRASE_SHARE = 0.35


def prose(rng: np.random.Generator, length: int) -> bytes:
    """Return ``length`` bytes of ASCII prose that JSON needs not escape."""
    words = np.array(_STEMS + [stem + ending for ending in _ENDINGS[1:] for stem in _STEMS if len(stem) > 3])
    phrases = [_join(rng, words, _PHRASE_WORDS) for _ in range(_PHRASES)]
    pieces: list[str] = []
    made = 0
    while made < length:
        again = rng.random() < _PHRASE_SHARE
        piece = phrases[_zipf(rng, len(phrases), 1, 0.6)[0]] if again else _join(rng, words, 24)
        pieces.append(piece)
        made += len(piece)
    return "".join(pieces).encode()[:length]


def _join(rng: np.random.Generator, words: np.ndarray, count: int) -> str:
    chosen = words[_zipf(rng, len(words), count, 0.9)]
    stops = _STOPS[rng.integers(0, len(_STOPS), count)]
    return "".join(np.char.add(chosen, stops).tolist())


def _zipf(rng: np.random.Generator, ranks: int, count: int, exponent: float) -> np.ndarray:
    """Draw ``count`` ranks below ``ranks``, the k-th with a chance near 1 / (k+1)**exponent.

    By inversion of the continuous law, which needs no table and is exact enough for text.
    """
    power = 1.0 - exponent
    drawn = (1.0 + rng.random(count) * (ranks**power - 1.0)) ** (1.0 / power)
    return np.minimum(drawn.astype(np.int64) - 1, ranks - 1)
