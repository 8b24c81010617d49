"""Definitions of tools, in the form of any provider, as ``{"type", "name", "description", "parameters"}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agenttrace_core.messages.values import first, first_text, unfolded

_LISTS: Final = ("function_tools", "output_tools", "builtin_tools", "native_tools", "tools", "functions")
_DECLARED: Final = ("function_declarations", "functionDeclarations")
_SCHEMAS: Final = (
    "parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema", "args_schema",
    "schema",
)  # fmt: skip


def read_definitions(value: Any) -> list[dict[str, Any]]:
    """Return the tools that ``value`` defines; none where it defines none."""
    value = unfolded(value)
    if isinstance(value, dict):
        lists = [item for name in _LISTS if isinstance(item := unfolded(value.get(name)), list)]
        value = [tool for tools in lists for tool in tools] or [value]
    if not isinstance(value, list):
        return []
    return [made for item in value for tool in _declared(unfolded(item)) if (made := _definition(tool)) is not None]


def _declared(item: Any) -> Iterator[Any]:
    declared = first(item, _DECLARED) if isinstance(item, dict) else None
    if isinstance(declared, list):
        yield from declared
    else:
        yield item


def _definition(tool: Any) -> dict[str, Any] | None:
    if isinstance(tool, str):
        return {"type": "function", "name": tool} if tool.strip() else None
    if not isinstance(tool, dict):
        return None
    members: Mapping[str, Any] = tool
    for wrapper in ("tool", "json_schema", "function", "toolSpec"):
        inner = unfolded(members.get(wrapper))
        members = {**members, **inner} if isinstance(inner, dict) else members
    name = first_text(members, "name", "id")
    if name is None:
        return None
    made: dict[str, Any] = {"type": first_text(members, "type") or "function", "name": name}
    if description := first_text(members, "description"):
        made["description"] = description
    parameters = unfolded(first(members, _SCHEMAS))
    if parameters is not None:
        made["parameters"] = parameters
    return made
