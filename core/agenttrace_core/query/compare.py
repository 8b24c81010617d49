"""Comparisons of columns with a value, as the algebra means them: no value satisfies none."""

from __future__ import annotations

import operator
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Op, Value
from agenttrace_core.query.patterns import glob_pattern, problem_of
from agenttrace_core.query.values import exact
from agenttrace_core.schema.arrays import Bools

_OF_COLUMNS = {Op.EQ: pc.equal, Op.LT: pc.less, Op.LE: pc.less_equal, Op.GT: pc.greater, Op.GE: pc.greater_equal}
_COMPARES = {Op.EQ: operator.eq, Op.LT: operator.lt, Op.LE: operator.le, Op.GT: operator.gt, Op.GE: operator.ge}
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"-?[0-9]{1,38}")


def text_matches(texts: pa.Array, op: Op, value: str) -> Bools:
    """Return which texts compare so with a text; by their bytes where they are ordered.

    Raises:
        InvalidInputError: ``value`` is to be a regular expression, and is none.
    """
    if op in {Op.GLOB, Op.REGEX}:
        pattern = glob_pattern(value) if op is Op.GLOB else value
        if op is Op.REGEX and (problem := problem_of(value)):
            raise InvalidInputError(problem)
        return _known(pc.match_substring_regex(texts, pattern))
    return _known(_OF_COLUMNS[op](texts, pa.scalar(value, pa.string())))


def number_matches(numbers: np.ndarray[Any, Any], valid: Bools, op: Op, value: Value, *, money: bool = False) -> Bools:
    """Return which integers (of 1e-12 dollars, if ``money``) compare so with a number, exactly.

    Raises:
        InvalidInputError: ``value`` is no number, or is to be a pattern.
    """
    if isinstance(value, str | bool) or op not in _COMPARES:
        raise InvalidInputError(f"a number is compared by = < <= > >= with a number, not by {op} with {value!r}"[:200])
    floor, is_exact = exact(value, money=money)
    if not is_exact:
        if op is Op.EQ:
            return np.zeros(len(numbers), np.bool_)
        # Between two integers: what is less than this is at most the lower of them.
        op = Op.LE if op in {Op.LT, Op.LE} else Op.GT
    # numpy's operators know of integers beyond 64 bits, its functions of the same name do not.
    found: Bools = np.asarray(_COMPARES[op](numbers, floor), np.bool_)
    return found & valid


def attribute_matches(texts: pa.Array, op: Op, value: Value) -> Bools:
    """Return which attributes compare so: with a number those that are numbers, with a text by their text.

    Whole numbers of up to 38 digits are compared exactly, others as doubles.

    Raises:
        InvalidInputError: ``value`` is to be a regular expression, and is none.
    """
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str) or op in {Op.GLOB, Op.REGEX}:
        return text_matches(texts, op, str(value))
    encoded = texts.dictionary_encode()
    of_text = np.array([_number_compares(text, op, value) for text in encoded.dictionary.to_pylist()], np.bool_)
    codes = encoded.indices.fill_null(-1).to_numpy()
    found: Bools = np.append(of_text, False)[codes]
    return found


def boolean_matches(values: pa.Array, op: Op, value: Value) -> Bools:
    """Return which values are that one.

    Raises:
        InvalidInputError: ``value`` is neither true nor false, or is not asked to be equal.
    """
    if not isinstance(value, bool) or op is not Op.EQ:
        raise InvalidInputError("this field is true or false")
    return _known(pc.equal(values, pa.scalar(value)))


def _number_compares(text: str, op: Op, value: int | Decimal) -> bool:
    if not _NUMBER.fullmatch(text):
        return False
    both_whole = _WHOLE.fullmatch(text) and -(10**38) < value < 10**38 and value == int(value)
    left, right = (int(text), int(value)) if both_whole else (float(text), _double(value))
    return bool(_COMPARES[op](left, right))


def _double(value: int | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _known(found: pa.Array) -> Bools:
    return np.asarray(found.fill_null(False), np.bool_)
