"""From the attributes that a sender chose to canonical columns: rules as data, and the engine that applies them.

``rules.toml`` says which attribute gives which column; ``promote`` applies it to whole batches.
Nothing in here changes what was received: raw attributes are kept, so that newer rules can be run
over old data.
"""
