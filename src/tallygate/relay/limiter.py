"""The limits of keys and accounts in one process: counted in memory, forgotten with it.

A start begins with empty windows: for the first minute the promise is about what this process has admitted. Many
processes need another adapter of the same port, which counts in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.limits import ACCOUNT, KEY, UNLIMITED, Allowance, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.access import ApiKey
    from tallygate.core.errors import Refusal
    from tallygate.core.ledger.records import Account
    from tallygate.core.limits import Limits, Rates, Taking


COUNT_LEAST: Final = 1000
"""So many keys, or accounts, may be known before those are looked for that do not call any more."""


class EmbeddedPermit:
    """What one call has taken of the limits of its key and its account."""

    __slots__ = ("_now_s", "_of_account", "_of_key", "_takings", "_tokens")

    def __init__(
        self, of_key: Allowance, of_account: Allowance, tokens: int, at_s: float, now_s: Callable[[], float]
    ) -> None:
        self._of_key = of_key
        self._of_account = of_account
        self._now_s = now_s
        self._tokens = tokens
        self._takings: tuple[Taking, Taking] | None = (of_key.take(at_s, tokens), of_account.take(at_s, tokens))

    @property
    def spend_limits(self) -> tuple[Limits, Limits] | None:
        """The limits in force, of the key and of its account; None where neither limits what is spent."""
        of_key, of_account = self._of_key, self._of_account
        return (of_key.limits, of_account.limits) if of_key.is_spend_limited or of_account.is_spend_limited else None

    @property
    def rates(self) -> Rates:
        """What is left of the limits per minute now."""
        if not (self._of_key.is_limited or self._of_account.is_limited):
            return self._of_key.rates(0.0)
        return _rates(self._of_key, self._of_account, self._now_s())

    def end(self, tokens: int | None) -> None:
        """Let go of what counts only while a call is under way; its tokens count as used, or as bounded if unknown."""
        if self._takings is not None:
            (of_key, of_account), self._takings = self._takings, None
            excess, now_s = 0 if tokens is None else self._tokens - tokens, self._now_s()
            self._of_key.end(of_key, excess, now_s)
            self._of_account.end(of_account, excess, now_s)

    def cancel(self) -> None:
        """Give back all that was taken: the call was refused after all."""
        if self._takings is not None:
            (of_key, of_account), self._takings = self._takings, None
            now_s = self._now_s()
            self._of_key.cancel(of_key, self._tokens, now_s)
            self._of_account.cancel(of_account, self._tokens, now_s)


class EmbeddedLimiter:
    """Admits calls by what was counted in this process.

    Args:
        now_s: A clock that is never set, in seconds.
        of_keys: The limits of keys that have none of their own.
        of_accounts: The same of accounts.
    """

    def __init__(
        self, now_s: Callable[[], float], of_keys: Limits = UNLIMITED, of_accounts: Limits = UNLIMITED
    ) -> None:
        self._now_s = now_s
        self._keys = _Allowances(KEY, of_keys, now_s)
        self._accounts = _Allowances(ACCOUNT, of_accounts, now_s)

    def __repr__(self) -> str:
        """Say what is counted."""
        under_way = sum(allowance.under_way for allowance in self._keys.allowances.values())
        return f"<EmbeddedLimiter {under_way} under way, {len(self._keys.allowances)} keys>"

    async def admit(self, key: ApiKey, account: Account, tokens: int) -> EmbeddedPermit:
        """Take a call's share of all limits, or of none."""
        of_key, of_account = self._find(key, account)
        at_s = self._now_s() if of_key.is_limited or of_account.is_limited else 0.0
        if (refusal := self._find_refusal(of_key, of_account, tokens, at_s)) is not None:
            raise refusal
        return EmbeddedPermit(of_key, of_account, tokens, at_s, self._now_s)

    async def foresee(self, key: ApiKey, account: Account, tokens: int) -> Refusal | None:
        """Return why a call would not be admitted now, or None; takes nothing."""
        return self._find_refusal(*self._find(key, account), tokens, self._now_s())

    async def standing(self, key: ApiKey, account: Account) -> Standing:
        """Return how a key stands; takes nothing."""
        of_key, of_account = self._find(key, account)
        rates = _rates(of_key, of_account, self._now_s())
        return Standing(of_key.limits, of_account.limits, rates, of_key.under_way)

    @staticmethod
    def _find_refusal(of_key: Allowance, of_account: Allowance, tokens: int, now_s: float) -> Refusal | None:
        for allowance in (of_key, of_account):
            if allowance.is_limited and (refusal := allowance.find_refusal(now_s, tokens)):
                refusal.rates = _rates(of_key, of_account, now_s)
                return refusal
        return None

    def _find(self, key: ApiKey, account: Account) -> tuple[Allowance, Allowance]:
        return self._keys.find(key.id, key.limits), self._accounts.find(account.id, account.limits)


class _Allowances:
    """The allowances of all keys, or of all accounts, by id; of those that do not call any more, not for long.

    Whenever there are twice as many as there had to be, those are forgotten of which nothing counts any more.
    """

    def __init__(self, subject: str, default: Limits, now_s: Callable[[], float]) -> None:
        self.allowances: dict[str, Allowance] = {}
        self._own: dict[str, Limits] = {}
        self._subject = subject
        self._default = default
        self._now_s = now_s
        self._count_max = COUNT_LEAST

    def find(self, id_: str, own: Limits) -> Allowance:
        """Return the allowance of one of them, with its limits as they are now."""
        allowance = self.allowances.get(id_)
        if allowance is None:
            if len(self.allowances) >= self._count_max:
                self._purge()
            allowance = self.allowances[id_] = Allowance(self._subject)
        if self._own.get(id_) is not own:
            self._own[id_] = own
            allowance.limit(own.completed(self._default))
        return allowance

    def _purge(self) -> None:
        now_s = self._now_s()
        for id_ in [id_ for id_, allowance in self.allowances.items() if allowance.is_idle(now_s)]:
            del self.allowances[id_], self._own[id_]
        self._count_max = max(COUNT_LEAST, 2 * len(self.allowances))


def _rates(of_key: Allowance, of_account: Allowance, now_s: float) -> Rates:
    return of_key.rates(now_s).tightened(of_account.rates(now_s))
