"""What an inference costs its caller.

    base  = prompt tokens * input + completion tokens * output + call      (exact, prices are integers)
    fee   = base * rate / 1,000,000, rounded half up                       (the only rounding there is)
    total = base + fee

Prices come in versioned sheets, so that every charge can be computed again from the books alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.money import PPM, format_usd
from tallygate.core.quoting import Amounts, Quote

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICE_PICOUSD_MAX: Final = 10**9
"""The dearest price that a sheet takes, per token and in pico-dollars: $1,000 per million tokens."""
CALL_PICOUSD_MAX: Final = 1000 * 10**12
"""The dearest price per call that a sheet takes: $1,000."""
FEE_PPM_MAX: Final = 3 * PPM
"""The highest platform fee, 300 %: what 10^9 tokens each way cost at the dearest price then fits 64 bits."""
OPERATOR: Final = "operator"
"""Who told a price that the operator has given back to the network."""
BILL_NGONKA_MAX: Final = 10**18
"""The most that an upstream can bill: 10^9 GNK, about all that there will ever be; nine such bills fit 64 bits."""


class Price(msgspec.Struct, frozen=True):
    """One model's price, in pico-dollars per prompt token, per completion token and per call."""

    input: int
    output: int
    call: int = 0
    free: bool = False

    def __post_init__(self) -> None:
        """Refuse a price that could be a slip: only the operator's explicit word makes a model free."""
        if not type(self.input) is type(self.output) is type(self.call) is int:
            raise ValueError("a price is a whole number of pico-dollars")
        if not (0 <= self.input <= PRICE_PICOUSD_MAX and 0 <= self.output <= PRICE_PICOUSD_MAX):
            raise ValueError(f"a price per token must be between 0 and {PRICE_PICOUSD_MAX} pico-dollars")
        if not 0 <= self.call <= CALL_PICOUSD_MAX:
            raise ValueError(f"a price per call must be between 0 and {CALL_PICOUSD_MAX} pico-dollars")
        if self.free != (self.input == self.output == self.call == 0):
            raise ValueError("a price of zero must be marked free, and a free price must be zero")


class Sheet(msgspec.Struct, frozen=True):
    """One version of the prices, as the books record it in full.

    Attributes:
        version: Counts up from 1.
        fee_ppm: The platform fee, in parts per million of the base cost.
        prices: Price by canonical model id.
        configured: The prices that the configuration file asked for when this version was made. A later start
            compares with it, so that a changed file takes effect and an unchanged one does not undo `prices set`.
        quoted: What the prices were made of that an upstream told; absent where none did.
    """

    version: int
    fee_ppm: int
    prices: dict[str, Price]
    configured: dict[str, Price] = {}
    quoted: dict[str, Quote] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse a fee that would turn a charge round, or that no amount could hold."""
        if type(self.fee_ppm) is not int or not 0 <= self.fee_ppm <= FEE_PPM_MAX:
            raise ValueError(f"a platform fee must be between 0 and {FEE_PPM_MAX} parts per million")

    @property
    def quotes(self) -> Mapping[str, Quote]:
        """What the prices were made of, by model, as far as upstreams told them."""
        return {} if self.quoted is msgspec.UNSET else self.quoted

    def encode(self) -> str:
        """Return the canonical JSON text that a `sheet` entry carries."""
        return msgspec.json.encode(self, order="sorted").decode()

    @classmethod
    def decode(cls, text: str) -> Sheet:
        """Return the sheet of a `sheet` entry's text."""
        return msgspec.json.decode(text, type=cls)


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What a caller pays, in pico-dollars."""

    base: int
    fee: int

    @property
    def total(self) -> int:
        """Base plus fee, exactly."""
        return self.base + self.fee


FREE: Final = Cost(0, 0)


def platform_fee(base_picousd: int, fee_ppm: int) -> int:
    """Return the fee on a base cost, rounded half up to the pico-dollar: the one rounding of the whole product."""
    return (base_picousd * fee_ppm + PPM // 2) // PPM


def cost_of(price: Price, fee_ppm: int, prompt_tokens: int, completion_tokens: int) -> Cost:
    """Return the cost of one inference at a price."""
    if prompt_tokens < 0 or completion_tokens < 0:
        raise InvariantBrokenError("token counts cannot be negative")
    base = prompt_tokens * price.input + completion_tokens * price.output + price.call
    return Cost(base, platform_fee(base, fee_ppm))


def affordable_completion_tokens(price: Price, fee_ppm: int, prompt_tokens: int, picousd: int) -> int:
    """Return how many completion tokens an amount pays for beside a prompt: `cost_of`, read backwards.

    It is negative where the amount does not even pay for the prompt. Where completion tokens are free, any number is
    affordable once the prompt is, and the one that is returned is merely some number that is not negative.
    """
    # base + floor((base * fee + PPM / 2) / PPM) <= amount, solved for the largest whole base.
    base_max = (picousd * PPM + PPM // 2 - 1) // (PPM + fee_ppm)
    return (base_max - prompt_tokens * price.input - price.call) // max(price.output, 1)


@dataclass(frozen=True, slots=True)
class UpstreamRate:
    """What an upstream bills the operator, in ngonka; all zero where it is not known."""

    input_ngonka: int = 1
    output_ngonka: int = 1
    attempt_ngonka: int = 0

    def __post_init__(self) -> None:
        """Refuse a rate at which an upstream would pay us."""
        if min(self.input_ngonka, self.output_ngonka, self.attempt_ngonka) < 0:
            raise ValueError("what an upstream bills cannot be negative")

    def bill(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return what one attempt with these tokens costs the operator, in ngonka; never more than there is."""
        bill = prompt_tokens * self.input_ngonka + completion_tokens * self.output_ngonka + self.attempt_ngonka
        return min(bill, BILL_NGONKA_MAX)


class UpstreamRates:
    """What an upstream bills for each model: what it has told last, as far as that is believed; else as configured.

    Args:
        configured: What the operator says that it bills.
    """

    __slots__ = ("_configured", "_told")

    def __init__(self, configured: UpstreamRate) -> None:
        self._configured = configured
        self._told: dict[str, UpstreamRate] = {}

    def of(self, model: str) -> UpstreamRate:
        """Return what it bills for a model, by the upstream's own id."""
        return self._told.get(model.lower(), self._configured) if self._told else self._configured

    def follow(self, model: str, rate: UpstreamRate) -> None:
        """Take what it has told for what it bills."""
        self._told[model.lower()] = rate

    @property
    def dearest(self) -> UpstreamRate:
        """What it bills at most for any model: for whoever does not know which it was."""
        rates = (self._configured, *self._told.values())
        return UpstreamRate(
            max(rate.input_ngonka for rate in rates),
            max(rate.output_ngonka for rate in rates),
            max(rate.attempt_ngonka for rate in rates),
        )


def revised(
    sheet: Sheet,
    changes: Mapping[str, Price],
    *,
    fee_ppm: int | None = None,
    quotes: Mapping[str, Quote] | None = None,
) -> Sheet:
    """Return the next version of a sheet with some prices changed; a quote stands only beside the price made of it."""
    return Sheet(
        version=sheet.version + 1,
        fee_ppm=sheet.fee_ppm if fee_ppm is None else fee_ppm,
        prices={**sheet.prices, **changes},
        configured=sheet.configured,
        quoted=_requoted(sheet, changes, quotes or {}),
    )


def reconciled(sheet: Sheet | None, configured: Mapping[str, Price], fee_ppm: int) -> Sheet | None:
    """Return the sheet version that a start with this configuration needs, or None if the present one will do.

    A price in the configuration file takes effect when the file has changed since it was last applied; so the
    latest word counts, whether it was said in the file or with `prices set`.
    """
    if sheet is None:
        return Sheet(version=1, fee_ppm=fee_ppm, prices=dict(configured), configured=dict(configured))
    changes = {model: price for model, price in configured.items() if sheet.configured.get(model) != price}
    if not changes and fee_ppm == sheet.fee_ppm and sheet.configured == dict(configured):
        return None
    return Sheet(
        version=sheet.version + 1,
        fee_ppm=fee_ppm,
        prices={**sheet.prices, **changes},
        configured=dict(configured),
        quoted=_requoted(sheet, changes, {}),
    )


def given_back(sheet: Sheet, model: str) -> Sheet:
    """Return the next version of a sheet, in which a model's price is the network's to change: it stays until then.

    The price gets a quote, the operator's, that gives just this price.
    """
    price = sheet.prices[model]
    amounts = Amounts(*(format_usd(picousd) for picousd in (price.input, price.output, price.call)))
    return revised(sheet, {}, quotes={model: Quote(OPERATOR, "usd", amounts, 0, 0)})


def _requoted(
    sheet: Sheet, changes: Mapping[str, Price], quotes: Mapping[str, Quote]
) -> dict[str, Quote] | msgspec.UnsetType:
    """Return the quotes of the next version: none of a model whose price somebody else has set."""
    kept = {model: quote for model, quote in sheet.quotes.items() if model not in changes}
    return {**kept, **quotes} or msgspec.UNSET
