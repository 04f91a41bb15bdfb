"""What the rest needs of the callers' API keys: a port, as those in `ports`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tallygate.core.access import NO_TERMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.access import ApiKey, KeyTerms
    from tallygate.core.errors import Refusal


class Keyring(Protocol):
    """The callers' API keys, found by a keyed digest of the secret.

    Every act returns when it is durable, and is in the books. One that would change nothing is no act. All but
    `revoke_key` refuse a revoked key (`conflict`), and all raise `UnknownKeyError` where there is no such key.
    """

    @property
    def has_imported(self) -> bool:
        """Whether any secret may be of another form than ours."""

    def find_key(self, digest: bytes) -> ApiKey | None:
        """Return the key that is not revoked with this digest of its secret. Touches nothing but memory."""

    def key(self, key_id: str) -> ApiKey:
        """Return the key with this id."""

    def refusal(self, key: ApiKey) -> Refusal | None:
        """Return why a key may not call now, by its own life and by its account; None where it may."""

    def watch_access(self, watcher: Callable[[], None]) -> None:
        """Have a function called at once whenever a key or an account may have lost what it was let do."""

    def keys(self, account_id: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of one account or of all, oldest first, revoked ones included."""

    async def add_key(
        self,
        account_id: str,
        name: str,
        digest: bytes,
        masked: str,
        actor: str,
        terms: KeyTerms = NO_TERMS,
        *,
        imported: bool = False,
    ) -> ApiKey:
        """Keep a new key; raises `UnknownAccountError`, and refuses an imported one that is there (`conflict`)."""

    async def change_key(self, key_id: str, name: str, terms: KeyTerms, actor: str) -> ApiKey:
        """Give a key this name and these terms, from the next call on."""

    async def pause_key(self, key_id: str, actor: str) -> ApiKey:
        """Have a key rest, effective at once."""

    async def resume_key(self, key_id: str, actor: str) -> ApiKey:
        """Let a paused key be used again."""

    async def rotate_key(self, key_id: str, digest: bytes, masked: str, grace_ns: int, actor: str) -> ApiKey:
        """Give a key another secret. The one before lives on for the grace; older ones, or without any, are dead."""

    async def revoke_key(self, key_id: str, actor: str) -> ApiKey:
        """End a key's life, effective at once."""
