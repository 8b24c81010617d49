"""The API: what is asked over HTTP, answered by the core's services.

What lives here: routes, models, and how answers are written. What never does: how an answer is
found. The door in front of it (``guard``) checks host, origin and key before anything else runs.
"""
