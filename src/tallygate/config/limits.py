"""The limits that hold for every API key and account that has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.config.schema import Root
from tallygate.config.schema.limits import AccountLimits, KeyLimits
from tallygate.config.schema.limits import Limits as LimitsSection
from tallygate.config.settings import LimitsSettings
from tallygate.config.tables import Attempt
from tallygate.core.limits import Limits

if TYPE_CHECKING:
    from tallygate.config.tables import Table


def read_limits(root: Table) -> LimitsSettings:
    """Return the limits of keys, and of accounts."""
    table = root.item(LimitsSection, Root.limits)
    of_keys = Attempt(lambda: _read(table.item(KeyLimits, LimitsSection.key), KeyLimits))
    of_accounts = Attempt(lambda: _read(table.item(AccountLimits, LimitsSection.account), AccountLimits))
    return LimitsSettings(of_keys.take(), of_accounts.take())


def _read(table: Table, section: type[KeyLimits]) -> Limits:
    return Limits(
        requests_per_minute=table[section.requests_per_minute],
        tokens_per_minute=table[section.tokens_per_minute],
        concurrent_requests=table[section.concurrent_requests],
        spend_day_picousd=table[section.spend_day_usd],
        spend_month_picousd=table[section.spend_month_usd],
        spend_total_picousd=table[section.spend_total_usd],
    )
