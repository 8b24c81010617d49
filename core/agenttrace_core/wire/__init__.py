"""OTLP in and out: protobuf and JSON, checked at the door, made into columns, and back without loss.

``check`` and ``columns`` are on the way of every span, and work on whole requests. ``json_read``,
``simple`` and ``json_write`` translate between JSON and protobuf; ``logs`` picks the events that
belong to spans; ``status`` words the answers. Nothing in here knows a socket.
"""
