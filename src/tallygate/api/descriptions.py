"""What the operator is shown of accounts, keys and prices, as JSON: exact decimal texts, never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tallygate.api.balance import describe_balance
from tallygate.api.terms import describe_limits
from tallygate.core.access import status_of
from tallygate.core.money import format_price_per_million, format_usd

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.ledger.records import Account
    from tallygate.core.pricing import Sheet
    from tallygate.ports import KeptEvent


def describe_account(account: Account) -> dict[str, Any]:
    """Return an account with its balance now."""
    return {
        "id": account.id,
        "name": account.name,
        "created_ns": account.created_ns,
        "status": "suspended" if account.suspended else "active",
        "limits": describe_limits(account.limits),
        **describe_balance(account),
    }


def describe_key(key: ApiKey, account: Account, now_ns: int) -> dict[str, Any]:
    """Return what is shown of a key, never its secret."""
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "key": key.masked,
        "status": status_of(key, account, now_ns).value,
        "created_ns": key.created_ns,
        "revoked_ns": key.revoked_ns,
        "expires_ns": key.expires_ns,
        "models": None if key.models is None else sorted(key.models),
        "limits": describe_limits(key.limits),
        "imported": key.imported,
    }


def describe_event(event: KeptEvent) -> dict[str, Any]:
    """Return an event that the webhook does not have yet, with what it will get."""
    return {"id": event.id, **msgspec.json.decode(event.body)}


def describe_sheet(sheet: Sheet) -> dict[str, Any]:
    """Return a price sheet, in the units in which prices are set."""
    return {
        "version": sheet.version,
        "fee_ppm": sheet.fee_ppm,
        "models": {
            model: {
                "input_usd_per_1m": format_price_per_million(price.input),
                "output_usd_per_1m": format_price_per_million(price.output),
                "usd_per_call": format_usd(price.call),
                "free": price.free,
                "quote": None if (quote := sheet.quotes.get(model)) is None else msgspec.to_builtins(quote),
            }
            for model, price in sorted(sheet.prices.items())
        },
    }
