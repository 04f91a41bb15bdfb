"""Breaks off calls under way whose key may not call any more, where the operator wants that.

Revoked, paused, expired, or its account suspended: what has happened to a key by an act is noticed at once, what
happens by itself (an expiry) within a moment. A rotation does not end a key, so its calls go on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.errors import Refusal
    from tallygate.ports.keyring import Keyring
    from tallygate.relay.relay import Relay


class KeyGuard:
    """Looks after the keys of calls under way.

    Args:
        relay: The calls.
        keys: The keys.
    """

    def __init__(self, relay: Relay, keys: Keyring) -> None:
        self._relay = relay
        self._keys = keys
        keys.watch_access(self.look)

    def look(self) -> None:
        """Break off every call whose key may not call now."""
        self._relay.cut_calls(self._judge)

    async def look_regularly(self, every_s: float) -> None:
        """Look every so often."""
        while True:
            await asyncio.sleep(every_s)
            self.look()

    def _judge(self, key: ApiKey) -> Refusal | None:
        return self._keys.refusal(self._keys.key(key.id))
