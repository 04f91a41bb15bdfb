"""What the books say when they refuse an act: the caller's or the operator's words, never a defect of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.errors import RETRY_AFTER_S_MAX, Code, Refusal
from tallygate.core.money import ACCOUNT_PICOUSD_MAX, format_usd

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account


def short_of_money(account: Account, required: int) -> Refusal:
    """Return why a hold cannot be taken: the money is not there, or it is held by calls under way."""
    balance = account.balance
    metadata = {
        "balance_usd": format_usd(balance),
        "available_usd": format_usd(account.available),
        "required_usd": format_usd(required),
    }
    if balance >= required:
        message = "The balance is held by calls under way; it is free again when they end."
        return Refusal(Code.BALANCE_HELD, message, metadata=metadata, retry_after_s=1)
    if balance < 0:
        message = f"The account is {format_usd(-balance)} US dollars below zero. Top it up."
        return Refusal(Code.INSUFFICIENT_BALANCE, message, metadata=metadata)
    message = (
        f"This call can cost up to {metadata['required_usd']} US dollars; {metadata['available_usd']} are available. "
        "Top the account up, or lower max_tokens."
    )
    return Refusal(Code.INSUFFICIENT_BALANCE, message, metadata=metadata)


def over_spend_limit(subject: str, name: str, amounts: tuple[int, int, int, int], ends_in_s: int | None) -> Refusal:
    """Return why a hold would exceed a spend limit; until calls under way end, until its period does, or for good.

    Args:
        subject: Who is limited.
        name: Of the limit, as in the contract.
        amounts: The limit, what is spent, what is held, and what this call would hold.
        ends_in_s: When the period is over; None is never.
    """
    limit, spent, held, required = amounts
    metadata = {
        "limit_usd": format_usd(limit),
        "spent_usd": format_usd(spent),
        "held_usd": format_usd(held),
        "required_usd": format_usd(required),
    }
    message = (
        f"This {subject} may spend {metadata['limit_usd']} USD {_PERIODS[name]}: {metadata['spent_usd']} are spent, "
        f"{metadata['held_usd']} held by calls under way, and this call can cost up to {metadata['required_usd']}."
    )
    retry_after_s, retry = ends_in_s or RETRY_AFTER_S_MAX, None
    if spent + required <= limit:
        retry_after_s = 1
    elif ends_in_s is None or ends_in_s > RETRY_AFTER_S_MAX:
        retry = False
    return Refusal(
        Code.SPEND_LIMIT_EXCEEDED, message, param=name, metadata=metadata, retry_after_s=retry_after_s, retry=retry
    )


_PERIODS: Final = {"spend_day": "a day (UTC)", "spend_month": "a month (UTC)", "spend_total": "in all"}


def nothing_deposited() -> Refusal:
    """Return why a deposit of nothing, or of less, is not booked."""
    return Refusal(Code.INVALID_VALUE, "A deposit must be more than 0 US dollars.", param="usd")


def reference_used(picousd: int) -> Refusal:
    """Return why a reference that stands for another amount is not booked again."""
    message = f"Reference already used for a deposit of {format_usd(picousd)} US dollars on this account."
    return Refusal(Code.CONFLICT, message, param="reference")


def nothing_corrected() -> Refusal:
    """Return why a correction that changes nothing is not booked."""
    return Refusal(Code.INVALID_VALUE, "A correction must be other than 0 US dollars.", param="usd")


def above_cap() -> Refusal:
    """Return why money that would exceed the account's cap is not booked."""
    limit = format_usd(ACCOUNT_PICOUSD_MAX)
    return Refusal(Code.INVALID_VALUE, f"An account holds at most {limit} US dollars.", param="usd")


def below_floor() -> Refusal:
    """Return why a correction that takes an account deeper into debt than it could ever be in credit is not booked."""
    limit = format_usd(ACCOUNT_PICOUSD_MAX)
    return Refusal(Code.INVALID_VALUE, f"An account owes at most {limit} US dollars.", param="usd")


def statement_too_long(entries: int) -> Refusal:
    """Return why a statement is not answered in one piece."""
    message = f"This month has {entries} entries, too many for one answer; `tallygate statement` prints them."
    return Refusal(Code.INVALID_VALUE, message, param="month")


def period_too_long(entries: int, entries_max: int) -> Refusal:
    """Return why a period is not added up for one answer."""
    message = (
        f"This period has {entries} entries, and at most {entries_max} are added up for one answer in this order. "
        "Ask for a shorter period, or put day first in `by`: then any period is answered, page by page."
    )
    return Refusal(Code.INVALID_VALUE, message, param="from")
