"""Logs: what is a GenAI event is kept as it was received, the rest is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire.logs import logs_from_json, select_genai_events
from tests.unit.wire import otlp_oracle as oracle


def _records(body: bytes) -> list[Any]:
    request = ExportLogsServiceRequest.FromString(body)
    return [record for rl in request.resource_logs for sl in rl.scope_logs for record in sl.log_records]


def _is_genai(record: Any) -> bool:
    older = [a.value.string_value for a in record.attributes if a.key == "event.name" and a.value.string_value]
    return (record.event_name or (older[-1] if older else "")).startswith("gen_ai.")


@given(oracle.log_requests)
@settings(deadline=None, max_examples=60)
def test_every_record_reads_as_the_specification_says(request_: ExportLogsServiceRequest) -> None:
    """Lost: some value of some field of an event, silently."""
    read = logs_from_json(json.dumps(oracle.to_json(request_)).encode())
    assert read.refused == ()
    assert read.records == len(_records(request_.SerializeToString()))
    assert [r.SerializeToString(deterministic=True) for r in _records(read.body)] == [
        r.SerializeToString(deterministic=True) for r in _records(request_.SerializeToString())
    ]


@given(oracle.log_requests)
@settings(deadline=None, max_examples=60)
def test_genai_events_and_nothing_else_are_kept(request_: ExportLogsServiceRequest) -> None:
    """Lost: the content of a call, or the user's trust that other logs are not taken."""
    body = request_.SerializeToString()
    wanted = [r.SerializeToString() for r in _records(body) if _is_genai(r)]
    selected = select_genai_events(body)
    assert [r.SerializeToString() for r in _records(selected.body)] == wanted
    assert (selected.kept, selected.refused) == (len(wanted), len(_records(body)) - len(wanted))
    assert bool(selected.reason) == bool(selected.refused)


def _request(*names: str, older: bool = False) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add(schema_url="u")
    resource.resource.attributes.add(key="service.name").value.string_value = "s"
    scope = resource.scope_logs.add(schema_url="v")
    for name in names:
        record = scope.log_records.add()
        if older:
            record.attributes.add(key="event.name").value.string_value = name
        else:
            record.event_name = name
    return request


@pytest.mark.parametrize("older", [False, True])
def test_events_are_known_by_their_name_new_and_old(older: bool) -> None:
    """Lost: evaluations, and the messages of senders that name events in an attribute."""
    names = ["gen_ai.evaluation.result", "gen_ai.client.inference.operation.details", "gen_ai.user.message"]
    body = _request(*names, older=older).SerializeToString()
    selected = select_genai_events(body)
    assert (selected.body, selected.kept, selected.reason) == (body, 3, "")


def test_what_is_left_keeps_its_resource_and_scope() -> None:
    """Lost: the service that an event came from."""
    selected = select_genai_events(_request("http.request", "gen_ai.choice", "").SerializeToString())
    assert ExportLogsServiceRequest.FromString(selected.body) == _request("gen_ai.choice")
    assert selected.reason == (
        "2 of 3 log records refused: AgentTrace keeps log records that are GenAI events: "
        "an event name beginning with 'gen_ai.'"
    )


def test_a_request_without_events_leaves_nothing() -> None:
    """Lost: an empty record in the queue for every batch of an application's logs."""
    selected = select_genai_events(_request("a", "b").SerializeToString())
    assert (selected.body, selected.kept, selected.refused) == (b"", 0, 2)


def test_a_damaged_body_is_refused() -> None:
    """Lost: a clear answer to a torn request."""
    body = _request("gen_ai.choice").SerializeToString()
    for cut in range(1, len(body)):
        with pytest.raises(InvalidInputError, match="not an OTLP ExportLogsServiceRequest"):
            select_genai_events(body[:cut])
