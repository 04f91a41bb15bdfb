"""What may be said of what the network tells: prices, the rate of a GNK, balances."""

from __future__ import annotations

import re
from typing import Final, Literal, cast

from tallygate.config import kinds, places
from tallygate.config.keys import Key, Section, defaulting, optional
from tallygate.config.schema.bounds import DAY_S
from tallygate.core.money import PPM
from tallygate.core.quoting import MARKUP_PPM_MAX

POINTER: Final = kinds.Text('a JSON pointer, such as "/gonka/usd"', re.compile(r"(/[!-.0-~ ]{0,100}){1,16}"))
WEEK_S: Final = 7 * DAY_S
NGONKA_MAX: Final = 10**18


class Prices(Section):
    """Where prices come from. Those in `[models]` and of `tallygate prices set` are yours, and no feed touches them.

    With `source = "network"`, every other model is priced by what its upstreams ask: ngonka × the rate of a GNK, or
    dollars, × (1 + markup), rounded up; an upstream's fee per attempt becomes the price per call. Of several
    upstreams the dearest counts. A price that is zero, missing, absurd, out of these bounds or too far from the one in
    force changes nothing and raises an alarm: no feed makes a model free. See docs/operate.md.
    """

    title = "[prices]"
    source = cast(
        "Key[Literal['configuration', 'network']]",
        defaulting(
            kinds.Choice("configuration", "network"),
            "configuration",
            '`"configuration"`: this file and `tallygate prices set`. `"network"`: besides, what upstreams ask.',
        ),
    )
    models = cast(
        "Key[Literal['configured', 'listed']]",
        defaulting(
            kinds.Choice("configured", "listed"),
            "configured",
            'Which models upstreams price: those of `[models]`, or (`"listed"`) all that they list.',
        ),
    )
    markup_ppm = defaulting(
        kinds.Whole(0, MARKUP_PPM_MAX),
        0,
        "What you add to the network's price, in millionths of it; part of the base cost, before the platform fee.",
    )
    interval_s = defaulting(kinds.Seconds(DAY_S), 300, "How often upstreams are asked.")
    stale_s = defaulting(kinds.Seconds(WEEK_S), 3600, "For how long the last good answer of an upstream counts.")
    usd_per_1m_min = defaulting(
        kinds.USD_PER_MILLION, "0.000001", "The cheapest price per million tokens to be believed."
    )
    usd_per_1m_max = defaulting(kinds.USD_PER_MILLION, "100", "The dearest price per million tokens to be believed.")
    usd_per_call_max = defaulting(kinds.USD, "1", "The dearest price per call to be believed.")
    change_ppm_max = defaulting(
        kinds.Whole(1, 100 * PPM), PPM // 2, "How far a price may move at a time, in millionths of what it is."
    )
    change_ppm_min = defaulting(
        kinds.Whole(0, PPM), 10_000, "A price that would move by less stays, so that price sheets stay few."
    )


class Gnk(Section):
    """What a GNK is worth in dollars, for prices in ngonka: a fixed rate, or a source on the web that is asked.

    A rate that cannot be believed changes nothing: the last good one counts, also the one that the price sheet in
    force was made with, after a restart. When it is older than `stale_s`, no price is made of it any more.
    """

    title = "[gnk]"
    usd = optional(kinds.USD, "no fixed rate", "Dollars of 1 GNK.")
    url = optional(places.QueryUrl(), "no source", "A URL that answers with JSON, in place of `usd`.")
    pointer = optional(POINTER, "", "Where in it the dollars of 1 GNK are, as a number or a text.")
    time_pointer = optional(
        POINTER, "the answer's arrival", "Where in it is since when that holds: RFC 3339, or a Unix time."
    )
    usd_min = optional(kinds.USD, "required with url", "The lowest rate to be believed.")
    usd_max = optional(kinds.USD, "required with url", "The highest rate to be believed.")
    change_ppm_max = defaulting(
        kinds.Whole(1, 100 * PPM), 200_000, "How far it may move from one reading to the next, in millionths."
    )
    interval_s = defaulting(kinds.Seconds(DAY_S), 300, "How often it is asked.")
    stale_s = defaulting(kinds.Seconds(WEEK_S), 3600, "For how long a rate counts.")


class Wallets(Section):
    """When you are told that what pays the network runs low: wallets of kind `gonka`, escrows of `devshardctl`."""

    title = "[wallets]"
    interval_s = defaulting(kinds.Seconds(DAY_S), 60, "How often balances are read.")
    low_ngonka = defaulting(
        kinds.Whole(0, NGONKA_MAX), 10**9, "A wallet with less to spend is low: 1 GNK is 1000000000 ngonka."
    )
    escrow_low_ngonka = defaulting(kinds.Whole(0, NGONKA_MAX), 5 * 10**8, "An escrow with less in it is low.")
