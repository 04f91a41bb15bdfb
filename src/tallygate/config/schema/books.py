"""What may be said of the books: where they are, how customers are charged, what the operator is told."""

from __future__ import annotations

from typing import Literal, cast

from tallygate.config import kinds, places
from tallygate.config.keys import Key, Section, defaulting, optional
from tallygate.core.money import PPM


class Store(Section):
    """The books."""

    title = "[store]"
    url = defaulting(places.StoreUrl(), "sqlite:data/tallygate.db", "The database file.")
    pepper_file = optional(
        places.FileName(),
        "beside the database, ending in `.pepper`",
        "The secret that API keys are hashed with. Made at the first start; keep a copy, "
        "since without it no API key works.",
    )
    checkpoint_key_file = optional(
        places.FileName(),
        "beside the database, ending in `.checkpoint-key`",
        "The key that signs checkpoints of the books. Made at the first start; keep a copy.",
    )
    anchors_file = optional(
        places.FileName(),
        "`anchors.jsonl` beside the database",
        "Where the signed checkpoints are kept. Best on another disk: they tell whether the database has lost its end.",
    )
    hold_durability = cast(
        "Key[Literal['wait', 'async']]",
        defaulting(
            kinds.Choice("wait", "async"),
            "wait",
            '`"wait"`: money set aside is on disk before a call is sent. `"async"`: sooner sent, '
            "and a crash of the machine can lose track of the calls of the last milliseconds.",
        ),
    )
    after_crash = cast(
        "Key[Literal['void', 'charge_prompt']]",
        defaulting(
            kinds.Choice("void", "charge_prompt"),
            "void",
            'What happens to calls that a crash cut off: `"void"` charges nothing, and the operator bears '
            'what the network bills; `"charge_prompt"` charges the prompt.',
        ),
    )


class Billing(Section):
    """How customers are charged."""

    title = "[billing]"
    fee_ppm = defaulting(
        kinds.Whole(0, PPM), 100_000, "The platform fee, in millionths of the base cost: 100000 is 10 %."
    )
    insufficient_balance_status = cast(
        "Key[Literal[402, 429]]",
        defaulting(kinds.Choice(402, 429), 402, "The HTTP status of a call that its account cannot pay."),
    )
    short_balance = cast(
        "Key[Literal['refuse', 'shrink']]",
        defaulting(
            kinds.Choice("refuse", "shrink"),
            "refuse",
            "What happens when the most that a call can cost is more than the account has, or a spend limit leaves: "
            '`"refuse"` refuses it; `"shrink"` gives a call that names no `max_tokens` as many as can be paid for.',
        ),
    )


class Events(Section):
    """What you are told of accounts: in the log, and by a signed webhook if there is one. See docs/events.md."""

    title = "[events]"
    low_balance_usd = optional(
        kinds.USD, "not told", "Tell when a balance, with what is held, falls below so many dollars."
    )
    webhook_url = optional(places.Endpoint(), "no webhook", "Where events are sent, by POST.")
    webhook_secret_env = optional(
        places.EnvName(), "", "The environment variable that holds the webhook's secret, `whsec_…`."
    )
    webhook_secret_file = optional(places.FileName(), "", "A file that holds it, in place of a variable.")
    webhook_timeout_s = defaulting(kinds.Seconds(300), 10, "How long the webhook may take to answer.")
