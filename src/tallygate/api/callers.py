"""Who calls: an API key is found by a keyed digest of its secret, in memory; a bad one touches no store."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tallygate.api.http import read_bearer
from tallygate.core.errors import Code, Refusal
from tallygate.core.keys import is_well_formed, key_digest

if TYPE_CHECKING:
    from tallygate.api.http import Request
    from tallygate.core.access import ApiKey
    from tallygate.ports import KeyStore

DIGESTS_MAX: Final = 10_000
"""How many good keys are remembered by their SHA-256, which spares the keyed digest; a bad key is never remembered."""


class Callers:
    """Finds the key of a request.

    Args:
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
    """

    def __init__(self, keys: KeyStore, pepper: bytes) -> None:
        self._keys = keys
        self._pepper = pepper
        self._key_digests: dict[bytes, bytes] = {}

    def authenticate(self, request: Request) -> ApiKey:
        """Return the caller's key; raises `Refusal` (401)."""
        token = read_bearer(request)
        if token is not None:
            fingerprint = sha256(token).digest()
            digest = self._key_digests.get(fingerprint)
            if digest is None and is_well_formed(token):
                digest = key_digest(self._pepper, token)
            key = None if digest is None else self._keys.find_key(digest)
            if key is not None and digest is not None:
                if len(self._key_digests) >= DIGESTS_MAX:
                    self._key_digests.clear()
                self._key_digests[fingerprint] = digest
                return key
        raise Refusal(Code.INVALID_API_KEY, "There is no such API key; send yours as Authorization: Bearer tg-….")
