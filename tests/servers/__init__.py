"""Real servers for the tests: Apache Kafka, MinIO, versitygw, PostgreSQL, Redis.

``programs`` says where a program is, and downloads or builds what can be; ``process`` starts and
ends one; a module a server says how it is started and what a test does with it; ``plugin`` makes
fixtures of them. ``python -m tests.servers`` fetches all that can be fetched. What a developer has
to know stands in ``docs/development.md``.
"""
