"""What the entrypoints run: ingest, write, read and compact, over ports alone."""
