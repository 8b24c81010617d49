"""Token buckets that processes share: a take is one script, which the server runs in one go, by its own clock."""

from __future__ import annotations

import hashlib
import math

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from agenttrace_adapters.redis.adapter import RedisAdapter
from agenttrace_adapters.redis.link import run_command
from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.ports.limiter import RateLimiter

TAKE = """
local amount, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'filled_us')
local tokens, filled_us = tonumber(kept[1]) or burst, tonumber(kept[2]) or now_us
tokens = math.min(burst, tokens + math.max(0, now_us - filled_us) / 1000000 * rate)

local missing, wait = math.min(amount, burst) - tokens, '0'
-- Whoever waited for as long as they were told is served, whatever a clock of microseconds makes of it.
if missing <= 0.000001 + rate / 1000000 then
    tokens = tokens - amount
elseif rate > 0 then
    wait = string.format('%.17g', missing / rate)
else
    wait = 'never'
end

redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'filled_us', string.format('%.0f', now_us))
-- A full bucket is as good as none.
redis.call('EXPIRE', KEYS[1], rate > 0 and math.min(604800, math.ceil((burst - tokens) / rate) + 1) or 604800)
return wait
"""
"""Takes ``amount`` (1) from the bucket at the key, which refills at ``rate`` (2) up to ``burst`` (3)."""

_HASH = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()


class RedisLimiter(RedisAdapter, RateLimiter):
    """Limits what passes through all processes that use one server, database and prefix."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__(url)
        self._prefix = f"{url.prefix}:limit:"

    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        """Take from a bucket; see the port."""

        async def run(client: Redis) -> bytes:
            of_take = (1, self._prefix + name, amount, per_second, burst)
            try:
                answer: bytes = await run_command(client, "EVALSHA", _HASH, *of_take)
            except NoScriptError:
                # It keeps scripts by their hash, until it is started anew.
                answer = await run_command(client, "EVAL", TAKE, *of_take)
            return answer

        wait = await self._link.run(run)
        return math.inf if wait == b"never" else float(wait)
