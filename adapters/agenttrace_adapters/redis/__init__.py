"""Redis: limits, cache and events that processes share, chosen together by the setting ``cache``.

What lives here: one module a port, and ``link``, through which they talk to the server. While it is away nobody
waits for it: calls fail at once, or do nothing, as their port says, until it answers again.
"""

from agenttrace_adapters.redis.cache import RedisCache
from agenttrace_adapters.redis.events import RedisEvents
from agenttrace_adapters.redis.limiter import RedisLimiter

__all__ = ["RedisCache", "RedisEvents", "RedisLimiter"]
