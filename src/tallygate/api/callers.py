"""Who calls: an API key is found by a keyed digest of its secret, in memory; a bad one touches no store."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tallygate.api.http import read_bearer
from tallygate.core.errors import Code, Refusal
from tallygate.core.keys import KEY_PREFIX, is_well_formed, key_digest_from_hash

if TYPE_CHECKING:
    from tallygate.api.http import Request
    from tallygate.core.access import ApiKey
    from tallygate.ports.keyring import Keyring

DIGESTS_MAX: Final = 10_000
"""How many good keys are remembered by their SHA-256, which spares the keyed digest; a bad key is never remembered."""


class Callers:
    """Finds the key of a request.

    Args:
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        prefix: How keys of this installation begin.
    """

    def __init__(self, keys: Keyring, pepper: bytes, prefix: str = KEY_PREFIX) -> None:
        self._keys = keys
        self._pepper = pepper
        self._prefix = prefix.encode()
        self._unknown = f"There is no such API key; send yours as Authorization: Bearer {prefix}…."
        self._key_digests: dict[bytes, bytes] = {}

    def authenticate(self, request: Request) -> ApiKey:
        """Return the caller's key; raises `Refusal` (401, or 403 while its account is suspended)."""
        key, refusal = self._identify(request)
        if refusal is not None:
            raise refusal
        return key

    def recognise(self, request: Request) -> ApiKey:
        """Return the caller's key, also while its account is suspended; raises `Refusal` (401)."""
        key, refusal = self._identify(request)
        if refusal is not None and refusal.code is not Code.ACCOUNT_DEACTIVATED:
            raise refusal
        return key

    def _identify(self, request: Request) -> tuple[ApiKey, Refusal | None]:
        """Return the key of a request, and why it may not call, if it may not; raises `Refusal` where there is none."""
        if request.key_digest is None:
            token = read_bearer(request)
            key, request.key_digest = (None, None) if token is None else self._find(token)
        else:
            key = self._keys.find_key(request.key_digest)
        if key is None:
            raise self.refuse_unknown()
        return key, self._keys.refusal(key)

    def knows(self, token: bytes | None) -> bool:
        """Say whether a token is a key at all, for whoever wants to refuse early what is none."""
        return token is not None and self._find(token)[0] is not None

    def refuse_unknown(self) -> Refusal:
        """Return what is said to whoever has no key of ours."""
        return Refusal(Code.INVALID_API_KEY, self._unknown)

    def _find(self, token: bytes) -> tuple[ApiKey | None, bytes | None]:
        """Return the key of a token, and the digest by which it was found."""
        fingerprint = sha256(token).digest()
        digest = self._key_digests.get(fingerprint)
        if digest is not None:
            return self._keys.find_key(digest), digest
        if self._can_be_a_key(token):
            digest = key_digest_from_hash(self._pepper, fingerprint)
        key = None if digest is None else self._keys.find_key(digest)
        if key is not None and digest is not None:
            if len(self._key_digests) >= DIGESTS_MAX:
                self._key_digests.clear()
            self._key_digests[fingerprint] = digest
        return key, digest

    def _can_be_a_key(self, token: bytes) -> bool:
        """Return whether a token is worth a look: it has our form, or imported keys may have any but that."""
        return is_well_formed(token) or (self._keys.has_imported and not token.startswith(self._prefix))
