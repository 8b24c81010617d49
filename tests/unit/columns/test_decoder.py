"""Two decoders, one result. If these fail, what is stored depends on which wheel was installed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.wire import otlp
from agenttrace_core.wire.decoder import PlainDecoder, decoder

NAMES = ["Request", "LightRequest", "SlicedRequest", "IdRequest", "SlicedLogsRequest"]


def _values(kind: str) -> st.SearchStrategy[Any]:
    return {
        "bytes": st.binary(max_size=20), "bool": st.booleans(), "double": st.floats(), "enum": st.integers(-3, 9),
        "int64": st.integers(-(2**63), 2**63 - 1), "fixed64": st.integers(0, 2**64 - 1),
        "fixed32": st.integers(0, 2**32 - 1), "uint32": st.integers(0, 2**32 - 1),
    }[kind]  # fmt: skip


def _messages(name: str) -> st.SearchStrategy[Any]:
    """Draw messages with any of their fields set, of one ``oneof`` the last."""
    fields = {}
    for field in otlp.descriptor(name).fields:
        kind = next(k for n, _, k in otlp._MESSAGES[name] if n == field.name).strip("[]")
        value = _messages(kind) if field.message_type is not None else _values(kind)
        fields[field.name] = st.lists(value, max_size=3) if field.is_repeated else value
    build = otlp.message_class(name)
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: build(**chosen))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_both_decoders_make_the_same_columns_of_any_request(name: str, data: st.DataObject) -> None:
    bodies = [m.SerializeToString() for m in data.draw(st.lists(_messages(name), min_size=1, max_size=3))]
    quick = decoder(name).list_to_record_batch(bodies)
    plain = PlainDecoder(name).list_to_record_batch(bodies)
    assert quick.schema.names == plain.schema.names
    assert _comparable(quick) == _comparable(plain)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_whatever_the_door_lets_in_both_decoders_read_alike(name: str, data: st.DataObject) -> None:
    """The door parses with plain protobuf, which is the stricter: what it takes must not be poison to the writer."""
    body = bytearray(data.draw(_messages(name)).SerializeToString())
    for position, byte in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)):
        if position < len(body):
            body[position] = byte
    try:
        plain = PlainDecoder(name).list_to_record_batch([bytes(body)])
    except ValueError:
        return
    assert _comparable(decoder(name).list_to_record_batch([bytes(body)])) == _comparable(plain)


def _comparable(batch: pa.RecordBatch) -> str:
    """Text of the rows, in which NaN equals NaN."""
    return repr(batch.to_pylist())
