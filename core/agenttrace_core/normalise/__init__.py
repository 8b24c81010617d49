"""From the attributes that a sender chose to canonical columns: rules as data, and the engine that applies them.

``rules.toml`` and ``rules/`` say which attribute gives which column. ``promote`` applies them to whole
batches, ``totals`` makes totals include their parts, and ``canonical`` puts it together; ``prices`` tells what
it cost. Nothing in here changes what was received: raw attributes are kept, so that newer rules can be
run over old data.
"""
