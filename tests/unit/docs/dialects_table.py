"""The table of attributes in the documentation, made from the rules: ``python -m tests.unit.docs.dialects_table``."""

from __future__ import annotations

from agenttrace_core.normalise.explain import EXPLAINED, named
from agenttrace_core.normalise.rules import RULES, Source

HEAD = "| field | from the first of these that says it |\n|---|---|"


def dialects_table() -> str:
    """Return the table in Markdown, a row a field that attributes give."""
    rules = {rule.column: rule for rule in RULES}
    rows = [f"| `{name}` | {_sources(rules[name].sources)} |" for name in EXPLAINED if name in rules]
    return "\n".join([HEAD, *rows])


def _sources(sources: tuple[Source, ...]) -> str:
    return ", ".join(dict.fromkeys(_source(source) for source in sources))


def _source(source: Source) -> str:
    if source.kind == "give":
        keys = source.when.keys if source.when is not None else ()
        return f"`{source.name}` where there is " + " or ".join(f"`{key}`" for key in keys)
    if source.kind == "field":
        return f"the span's {source.name}{_scope(source)}"
    return " + ".join(f"`{name}`" for name in named(source)) + _scope(source)


def _scope(source: Source) -> str:
    scopes = source.when.scope if source.when is not None else ()
    return f" (scope {' or '.join(f'`{scope}`' for scope in scopes)})" if scopes else ""


if __name__ == "__main__":
    print(dialects_table())
