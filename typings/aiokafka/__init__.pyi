"""Types of the part of aiokafka that is used here; it has annotations of its own, and does not say so."""
