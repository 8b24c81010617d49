"""Which attributes hold what a span was given and what it gave, best first, over all dialects.

A span of many dialects at once (a Langfuse exporter copies what an instrumentation wrote) is read by
the first of them that says anything. ``{…}`` after a name means that it is numbered.
"""

from __future__ import annotations

from typing import Final

INPUT: Final = (
    "gen_ai.input.messages", "llm.input_messages{}", "llm.input_messages", "gen_ai.prompt{}", "gen_ai.prompt",
    "gen_ai.prompt.content", "lk.chat_ctx", "lk.input_text", "lk.user_transcript", "ai.prompt.messages",
    "ai.prompt", "gcp.vertex.agent.llm_request", "request_data", "llm.prompts{}", "llm.prompts",
    "lmnr.span.input", "langfuse.observation.input", "traceloop.entity.input", "gen_ai.task.input",
    "input.value", "gcp.vertex.agent.tool_call_args", "genkit:input", "mlflow.spanInputs",
    "gen_ai.retrieval.query.text", "gen_ai.memory.query.text", "reranker.query", "crewai.task.description",
    "formatted_description", "crew_inputs", "inputs", "gen_ai.request.messages", "input",
    "langfuse.trace.input", "gen_ai.input",
)  # fmt: skip
"""Of any span but a tool's."""

OUTPUT: Final = (
    "gen_ai.output.messages", "llm.output_messages{}", "llm.output_messages", "gen_ai.completion{}",
    "gen_ai.completion", "gen_ai.completion.content", "lk.response.text", "ai.response.object",
    "ai.result.object", "gcp.vertex.agent.llm_response", "response_data", "llm.choices{}", "lmnr.span.output",
    "langfuse.observation.output", "traceloop.entity.output", "gen_ai.task.output", "output.value",
    "final_result", "genkit:output", "mlflow.spanOutputs", "task_output", "crewai.task.output",
    "crewai.crew.result", "crew_output", "gen_ai.output", "response", "output", "langfuse.trace.output",
)  # fmt: skip

ANSWERS: Final = frozenset({
    "ai.response.object", "ai.result.object", "final_result", "task_output", "crewai.task.description",
    "formatted_description", "crewai.task.output", "crewai.crew.result",
})  # fmt: skip
"""What somebody said or asked for, word for word, also where it is JSON."""

SYSTEM: Final = ("gen_ai.system_instructions", "gen_ai.system.instructions", "ai.prompt.system")

TOOLS: Final = (
    "gen_ai.tool.definitions", "llm.tools{}", "llm.tools", "llm.request.functions{}", "ai.prompt.tools",
    "gen_ai.request.tools", "model_request_parameters",
)  # fmt: skip

RUNS: Final = ("pydantic_ai.all_messages", "all_messages_events")
"""Of an agent's run: all that was said, the answer last."""

EVENT_LISTS: Final = ("events",)
"""Attributes that list events, as Logfire's did."""

TOOL_NAMES: Final = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "tool_name", "traceloop.entity.name",
                     "mcp.tool.name", "lk.function_tool.name")  # fmt: skip
TOOL_IDS: Final = (
    "gen_ai.tool.call.id",
    "ai.toolCall.id",
    "tool_call.id",
    "tool.call_id",
    "tool.id",
    "lk.function_tool.id",
)

ARGUMENTS: Final = (
    "gen_ai.tool.call.arguments", "tool_arguments", "gen_ai.tool.args", "ai.toolCall.args", "ai.toolCall.input",
    "gcp.vertex.agent.tool_call_args", "traceloop.entity.input", "langfuse.observation.input",
    "lmnr.span.input", "input.value", "tool.parameters", "gen_ai.task.input", "genkit:input",
    "mlflow.spanInputs", "input", "gen_ai.tool.call.input", "tool.input", "lk.function_tool.arguments",
)  # fmt: skip
"""Of a tool's span."""

RESULTS: Final = (
    "gen_ai.tool.call.result", "tool_response", "gen_ai.tool.result", "ai.toolCall.result",
    "ai.toolCall.output", "gcp.vertex.agent.tool_response", "traceloop.entity.output",
    "langfuse.observation.output", "lmnr.span.output", "output.value", "gen_ai.task.output", "genkit:output",
    "mlflow.spanOutputs", "gen_ai.output", "output", "gen_ai.tool.call.output", "tool.output",
    "lk.function_tool.output",
)  # fmt: skip

TOOL_MARKS: Final = {
    "gen_ai.operation.name": "execute_tool", "openinference.span.kind": "TOOL", "traceloop.span.kind": "tool",
    "ai.operationId": "ai.toolCall", "langfuse.observation.type": "tool", "lmnr.span.type": "TOOL",
    "langsmith.span.kind": "tool",
}  # fmt: skip
"""What says that a span is a tool's."""
TOOL_KEYS: Final = (
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response", "tool_response", "tool_arguments", "lk.function_tool.output",
    "lk.function_tool.arguments",
)  # fmt: skip
"""What only a tool's span has."""

EMBEDDED: Final = ("ai.values", "ai.value", "embedding.text", "inputs")
VECTORS: Final = ("ai.embeddings", "ai.embedding", "embedding.vector")
DOCUMENTS_GIVEN: Final = ("reranker.input_documents{}",)
HOLD_DOCUMENTS: Final = ("traceloop.entity.output", "gen_ai.task.output")
"""What may be an object with ``documents``."""
DOCUMENTS: Final = ("retrieval.documents{}", "reranker.output_documents{}", "gen_ai.retrieval.documents",
                    *HOLD_DOCUMENTS)  # fmt: skip
