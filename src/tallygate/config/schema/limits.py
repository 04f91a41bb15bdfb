"""What callers may do in a time, at a time, and for how much money, where nothing is said of their key or account."""

from __future__ import annotations

from tallygate.config import kinds
from tallygate.config.keys import Section, defaulting, optional

COUNT_MAX = 1_000_000_000
"""A thousand million: more than a key could ever do, and what a slip of the keyboard comes to."""

OFF = "off"


class Limits(Section):
    """What holds for every API key and every account that has no such limit of its own."""

    title = "[limits]"
    key = optional(kinds.Table(), "", "For every API key: `[limits.key]`.")
    account = optional(kinds.Table(), "", "For every account, all of its keys together: `[limits.account]`.")


class KeyLimits(Section):
    """The limits of an API key. A key's own limit of a kind stands in the place of the one here."""

    title = "[limits.key]"
    requests_per_minute = defaulting(
        kinds.OrOff(kinds.Whole(1, COUNT_MAX)),
        1_000_000,
        "Never more calls than this are admitted in any 60 seconds. As shipped, more than a process serves: it is "
        "there for programs that look for a number.",
    )
    tokens_per_minute = defaulting(
        kinds.OrOff(kinds.Whole(1, COUNT_MAX)),
        OFF,
        "The same of tokens, prompts and answers together: as bounded while a call is under way, as used afterwards.",
    )
    concurrent_requests = defaulting(
        kinds.OrOff(kinds.Whole(1, COUNT_MAX)), OFF, "How many calls may be under way at a time."
    )
    spend_day_usd = defaulting(
        kinds.OrOff(kinds.USD), OFF, "How many dollars may be spent on one day (UTC), with what calls under way hold."
    )
    spend_month_usd = defaulting(kinds.OrOff(kinds.USD), OFF, "The same in one month (UTC).")
    spend_total_usd = defaulting(kinds.OrOff(kinds.USD), OFF, "The same ever.")


class AccountLimits(KeyLimits):
    """The limits of an account, all of its keys together."""

    title = "[limits.account]"
    requests_per_minute = defaulting(
        kinds.OrOff(kinds.Whole(1, COUNT_MAX)), OFF, "Never more calls than this are admitted in any 60 seconds."
    )
