"""The benchmark programme: starts AgentTrace as a user would, loads it, and measures it from outside.

``python -m tests.benchmarks`` runs all of it; ``docs/performance.md`` says how to read what it prints.
"""
