"""Who may call, in the embedded store: keys by the digests of their secrets, and how accounts stand.

The half of `EmbeddedLedger` that moves no money. Every act is one step on the event loop: memory, the note in the
books, and the row beside it. It goes through the queue of all other acts, so whatever a caller does under an act that
is not durable yet becomes durable after it, or not at all.

What takes something away (pause, revocation, rotation, suspension) takes effect before anything can fail: what leaked
must not live on because the disk is full. A secret is good only once it is durable: nobody gets in with one that a
crash could still take back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.access import (
    NO_TERMS,
    ApiKey,
    KeyTerms,
    UnknownKeyError,
    describe_changes,
    describe_limits,
    refusal_of,
)
from tallygate.core.errors import Code, InvariantBrokenError, Refusal
from tallygate.storage.journal import AccountTerms, FormerSecret, KeyRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.core.ledger.books import Books
    from tallygate.core.ledger.records import Account
    from tallygate.core.limits import Limits
    from tallygate.storage.group_commit import GroupCommit


class EmbeddedAccess:
    """`Keyring`, and the acts of `Ledger` on how an account stands; what it works on, the ledger sets."""

    _books: Books
    _queue: GroupCommit
    _now_ns: Callable[[], int]
    _entropy: Callable[[int], bytes]

    def __init__(self) -> None:
        self._rows: dict[str, KeyRow] = {}
        self._live: dict[bytes, ApiKey] = {}
        self._digests: set[bytes] = set()
        self._imported: set[str] = set()
        self._watchers: list[Callable[[], None]] = []

    def watch_access(self, watcher: Callable[[], None]) -> None:
        """Have a function called at once whenever a key or an account may have lost what it was let do."""
        self._watchers.append(watcher)

    # --- Keyring: looking up ----------------------------------------------------------------------------------

    @property
    def has_imported(self) -> bool:
        """Whether any secret may be of another form than ours."""
        return bool(self._imported)

    def find_key(self, digest: bytes) -> ApiKey | None:
        """Return the key that is not revoked with this digest of its secret.

        By a secret that was replaced, and still works for a while, it is found as a key that expires with that while.
        """
        return self._live.get(digest)

    def key(self, key_id: str) -> ApiKey:
        """Return the key with this id."""
        return self._row(key_id).key

    def refusal(self, key: ApiKey) -> Refusal | None:
        """Return why a key may not call now, by its own life and by its account; None where it may."""
        return refusal_of(key, self._books.account(key.account), self._now_ns())

    def keys(self, account_id: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of one account or of all, oldest first, revoked ones included."""
        keys = (row.key for row in self._rows.values() if account_id in (None, row.key.account))
        return sorted(keys, key=lambda key: (key.created_ns, key.id))

    # --- Keyring: acts ----------------------------------------------------------------------------------------

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
        """Keep a new key."""
        self._queue.check()
        self._books.account(account_id)
        if digest in self._digests and imported:
            raise Refusal(Code.CONFLICT, "This key is here already.", param="sha256")
        self._refuse_known(digest)
        bare = ApiKey(f"key_{self._entropy(10).hex()}", account_id, name, masked, self._now_ns(), None)
        key = _under(terms, bare)._replace(imported=imported)
        self._put(KeyRow(key, digest), "key imported" if imported else "key created", actor, bare)
        await self._queue.durable()
        self._enliven(key.id, digest)
        return key

    async def change_key(self, key_id: str, name: str, terms: KeyTerms, actor: str) -> ApiKey:
        """Give a key this name and these terms, from the next call on."""
        row = self._changeable(key_id)
        key = _under(terms, row.key)._replace(name=name)
        if key != row.key:
            self._queue.check()
            self._put(row._replace(key=key), "key changed", actor, row.key)
        await self._queue.durable()
        return key

    async def pause_key(self, key_id: str, actor: str) -> ApiKey:
        """Have a key rest, effective at once."""
        row = self._changeable(key_id)
        key = row.key._replace(paused=True)
        if key != row.key:
            self._put(row._replace(key=key), "key paused", actor)
        await self._queue.durable()
        return key

    async def resume_key(self, key_id: str, actor: str) -> ApiKey:
        """Let a paused key be used again."""
        row = self._changeable(key_id)
        key = row.key._replace(paused=False)
        if key != row.key:
            self._queue.check()
            self._put(row._replace(key=key), "key resumed", actor)
        await self._queue.durable()
        return key

    async def rotate_key(self, key_id: str, digest: bytes, masked: str, grace_ns: int, actor: str) -> ApiKey:
        """Give a key another secret. The one before lives on for the grace; older ones, or without any, are dead."""
        row = self._changeable(key_id)
        self._refuse_known(digest)
        former, reason = None, "key rotated"
        if grace_ns:
            former = FormerSecret(row.digest, self._now_ns() + grace_ns)
            reason = f"key rotated, its old secret works until {former.until_ns}"
        self._kill(row, all_but=former)
        key = row.key._replace(masked=masked, imported=row.key.imported and former is not None)
        self._put(KeyRow(key, digest, former), reason, actor)
        await self._queue.durable()
        self._enliven(key_id, digest)
        return key

    async def revoke_key(self, key_id: str, actor: str) -> ApiKey:
        """End a key's life, effective at once."""
        row = self._row(key_id)
        if row.key.revoked_ns is None:
            self._kill(row)
            row = KeyRow(row.key._replace(revoked_ns=self._now_ns()), row.digest)
            self._put(row, "key revoked", actor)
        await self._queue.durable()
        return row.key

    # --- Ledger: how accounts stand ----------------------------------------------------------------------------

    async def suspend_account(self, account_id: str, reason: str, actor: str) -> Account:
        """Close an account for now, effective at once: its keys are blocked until it is resumed."""
        account = self._books.account(account_id)
        if not account.suspended:
            account.suspended = True
            self._tell_watchers()
            self._put_account(account, f"account suspended: {reason}", actor)
        await self._queue.durable()
        return account

    async def resume_account(self, account_id: str, reason: str, actor: str) -> Account:
        """Open a suspended account again; its keys are what they were."""
        account = self._books.account(account_id)
        if account.suspended:
            self._queue.check()
            account.suspended = False
            self._put_account(account, f"account resumed: {reason}", actor)
        await self._queue.durable()
        return account

    async def limit_account(self, account_id: str, limits: Limits, actor: str) -> Account:
        """Set what all keys of an account together may do, from the next call on."""
        account = self._books.account(account_id)
        if account.limits != limits:
            self._queue.check()
            reason = f"account limited: {describe_limits(account.limits, limits)}"
            account.limits = limits
            self._put_account(account, reason, actor)
        await self._queue.durable()
        return account

    # --- the parts of an act -----------------------------------------------------------------------------------

    def _take_up(self, rows: Iterable[KeyRow]) -> None:
        """Take up the keys that a store has; they are durable."""
        for row in rows:
            self._keep(row)
            if row.key.revoked_ns is None:
                self._live[row.digest] = row.key
                if row.former is not None:
                    self._live[row.former.digest] = _until(row.former, row.key)

    def _row(self, key_id: str) -> KeyRow:
        row = self._rows.get(key_id)
        if row is None:
            raise UnknownKeyError(key_id)
        return row

    def _changeable(self, key_id: str) -> KeyRow:
        row = self._row(key_id)
        if row.key.revoked_ns is not None:
            raise Refusal(Code.CONFLICT, "This API key has been revoked, for good; make a new one.")
        return row

    def _refuse_known(self, digest: bytes) -> None:
        if digest in self._digests:
            raise InvariantBrokenError("a secret was kept twice")  # the store would refuse it, and all that comes later

    def _kill(self, row: KeyRow, all_but: FormerSecret | None = None) -> None:
        """Let no secret of a key be good any more, but for one."""
        for digest in (row.digest, *([] if row.former is None else [row.former.digest])):
            if all_but is None or digest != all_but.digest:
                self._live.pop(digest, None)
                self._digests.discard(digest)

    def _enliven(self, key_id: str, digest: bytes) -> None:
        """Let a secret be good that is durable, unless it was replaced, or its key revoked, while the disk worked."""
        row = self._rows[key_id]
        if row.key.revoked_ns is None and row.digest == digest:
            self._live[digest] = row.key
        elif row.key.revoked_ns is None and row.former is not None and row.former.digest == digest:
            self._live[digest] = _until(row.former, row.key)

    def _put(self, row: KeyRow, reason: str, actor: str, before: ApiKey | None = None) -> None:
        """Have a key be this from now on, and write it; the reason goes on with what differs from `before`."""
        self._keep(row)
        if row.digest in self._live:
            self._live[row.digest] = row.key
        if row.former is not None and row.former.digest in self._live:
            self._live[row.former.digest] = _until(row.former, row.key)
        self._tell_watchers()
        if before is not None and (changes := describe_changes(before, row.key)):
            reason = f"{reason}: {changes}"
        self._queue.check()
        self._queue.append(self._books.note(row.key.account, reason, actor, key_id=row.key.id), row)

    def _keep(self, row: KeyRow) -> None:
        key = row.key
        self._rows[key.id] = row
        self._digests.add(row.digest)
        if row.former is not None:
            self._digests.add(row.former.digest)
        (self._imported.add if key.imported and key.revoked_ns is None else self._imported.discard)(key.id)

    def _put_account(self, account: Account, reason: str, actor: str) -> None:
        self._queue.check()
        written = self._books.note(account.id, reason, actor)
        self._queue.append(written, AccountTerms(account.id, account.suspended, account.limits))

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher()


def _under(terms: KeyTerms, key: ApiKey) -> ApiKey:
    return key._replace(expires_ns=terms.expires_ns, models=terms.models, limits=terms.limits)


def _until(former: FormerSecret, key: ApiKey) -> ApiKey:
    """Return a key as it is found by a secret that still works for a while."""
    ends = former.until_ns if key.expires_ns is None else min(former.until_ns, key.expires_ns)
    return key._replace(expires_ns=ends)
