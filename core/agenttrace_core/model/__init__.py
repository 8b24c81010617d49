"""Values: what the rest of the core speaks about. Frozen, slotted, no I/O, no behaviour beyond themselves."""
