"""What an adapter must do: small async Protocols, each with a frozen capabilities object.

Adapters inherit from the Protocol, so that a missing method fails at construction. A
constructor does no I/O; ``open()`` does, and ``aclose()`` is idempotent and safe if never
opened. An adapter translates its driver's exceptions into ``agenttrace_core.errors``.
"""
