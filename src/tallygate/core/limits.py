"""What may be limited of an API key or an account, beside its money."""

from __future__ import annotations

from typing import Final, NamedTuple


class Limits(NamedTuple):
    """The limits of one API key or one account; None is no limit.

    Attributes:
        requests_per_minute: Calls admitted in any 60 seconds.
        tokens_per_minute: Tokens of calls in any 60 seconds: as bounded when a call is admitted, as used once it ended.
        concurrent_requests: Calls under way at a time.
        spend_day_picousd: What may be spent on one UTC day, with what is held.
        spend_month_picousd: The same in one UTC month.
        spend_total_picousd: The same ever.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    spend_day_picousd: int | None = None
    spend_month_picousd: int | None = None
    spend_total_picousd: int | None = None


UNLIMITED: Final = Limits()
