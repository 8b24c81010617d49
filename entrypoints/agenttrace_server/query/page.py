"""The description of the API for people: one page made from its OpenAPI, which asks for nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{font:600 1rem ui-monospace,monospace;border-top:1px solid #ddd;padding-top:1rem;margin-top:2rem}
h2 b{color:#06c}table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#f4f4f4;padding:.7rem;overflow:auto}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}pre{background:#242424}
h2{border-color:#444}h2 b{color:#7bf}}
"""


def page(openapi: Mapping[str, Any]) -> str:
    """Return HTML that lists every path of ``openapi`` with its parameters and the shapes of its answers."""
    info, schemas = openapi["info"], openapi.get("components", {}).get("schemas", {})
    routes = [
        _route(method, path, told, schemas)
        for path, methods in openapi["paths"].items()
        for method, told in methods.items()
    ]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: API</title><style>{_STYLE}</style>'
        f"<h1>{title}: API</h1><p>For programs: <a href='/openapi.json'><code>/openapi.json</code></a>. "
        "Send a key as <code>Authorization: Bearer KEY</code>; callers on this machine need none, unless "
        "<code>auth.local</code> is false. "
        f"Every <code>*_ns</code> is in nanoseconds.</p>{''.join(routes)}</html>"
    )


def _route(method: str, path: str, told: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [f"<h2><b>{method.upper()}</b> {escape(path)}</h2><p>{escape(told.get('description', ''))}</p>"]
    if told.get("parameters"):
        parts.append(f"<table>{''.join(_parameter(each) for each in told['parameters'])}</table>")
    for status, answer in told.get("responses", {}).items():
        shape = answer.get("content", {}).get("application/json", {}).get("schema")
        if status.startswith("2") and shape:
            example = json.dumps(_shape(shape, schemas, 0), indent=2, ensure_ascii=False)
            parts.append(f"<p>Answers {escape(status)}:</p><pre>{escape(example)}</pre>")
    return "".join(parts)


def _parameter(given: Mapping[str, Any]) -> str:
    schema = given.get("schema", {})
    limits = {"minimum": "from", "maximum": "to", "default": "by default", "pattern": "matches"}
    bounds = [f"{word} {schema[name]}" for name, word in limits.items() if schema.get(name) is not None]
    words = "; ".join([given.get("description", ""), *bounds]).strip("; ")
    return f"<tr><td><code>{escape(given['name'])}</code><td>{escape(words)}"


def _shape(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    """Return something of the shape of ``schema``: names of types in place of values."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth)
    if "properties" in schema and depth < 4:
        return {name: _shape(inner, schemas, depth + 1) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_shape(schema.get("items", {}), schemas, depth + 1)]
    if "anyOf" in schema:
        kinds = [_shape(kind, schemas, depth + 1) for kind in schema["anyOf"]]
        return " or ".join(kinds) if all(isinstance(kind, str) for kind in kinds) else kinds[0]
    return str(schema.get("type", "any"))
