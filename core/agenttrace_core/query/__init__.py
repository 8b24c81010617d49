"""How rows become answers: versions of a span settled, sums merged, places in a list signed.

Pure functions over Arrow tables and values. Ports and services never enter; adapters and
services both use what is here, so that every index answers alike.
"""
