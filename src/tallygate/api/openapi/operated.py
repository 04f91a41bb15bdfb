"""What the operator is answered, as JSON Schema, with all members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.admin.inferences import STATE_NAMES
from tallygate.api.openapi.answered import ASKED, BALANCE_NOW, COUNT, DATE, HEX, PAGE, TIME, USD
from tallygate.api.openapi.asked import LIMITS
from tallygate.api.openapi.shapes import (
    Schema,
    flag,
    integer,
    listing,
    mapping,
    maybe,
    one_of_texts,
    only,
    open_record,
    record,
    ref,
    text,
)
from tallygate.core.access import KeyStatus
from tallygate.core.audit.problems import PROMISES
from tallygate.core.standing import State as PlaceState

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: Final = maybe(text())
_NGONKA: Final = integer("Of the network's unit.")
_NGONKA_TEXT: Final = text("Of the network's unit, exactly.", pattern="^-?[0-9]+$")

# --- accounts and keys ---

_LIMITS: Final = {**LIMITS, "required": list(LIMITS["properties"])}
_ACCOUNT: Final[Mapping[str, Schema]] = {
    "id": text(),
    "name": text(),
    "created_ns": COUNT,
    "status": one_of_texts(("active", "suspended")),
    "limits": _LIMITS,
    **BALANCE_NOW["properties"],
}
ACCOUNT: Final = record(_ACCOUNT)
ACCOUNT_WITH_KEYS: Final = record({**_ACCOUNT, "keys": listing(ref("Key"))})
ACCOUNTS: Final = record({"data": listing(ref("Account"))})
_BOOKED: Final[Mapping[str, Schema]] = {
    "id": HEX,
    "usd": USD,
    "replayed": flag("Whether it had been booked before."),
    "account": ref("Account"),
}
DEPOSIT: Final = record({**_BOOKED, "reference": _WORDS})
CORRECTION: Final = record({**_BOOKED, "reason": text(), "actor": text()})
_KEY: Final[Mapping[str, Schema]] = {
    "id": text(),
    "account": text(),
    "name": text(),
    "key": text("The key, masked."),
    "status": one_of_texts([status.value for status in KeyStatus]),
    "created_ns": COUNT,
    "revoked_ns": maybe(COUNT),
    "expires_ns": maybe(COUNT),
    "models": maybe(listing(text())),
    "limits": _LIMITS,
    "imported": flag(),
}
_SECRET: Final = text("The key itself, shown this once.")
KEY: Final = record(_KEY)
NEW_KEY: Final = record(_KEY, {"secret": _SECRET})
ROTATED_KEY: Final = record({**_KEY, "secret": _SECRET, "grace_s": COUNT})
KEYS: Final = record({"data": listing(ref("Key"))})

# --- statements ---

_CHARGES: Final = record(
    {
        **dict.fromkeys(("count", "prompt_tokens", "completion_tokens"), COUNT),
        **dict.fromkeys(("base_usd", "fee_usd", "total_usd"), USD),
    }
)
_COUNTED: Final = record({"count": COUNT, "usd": USD})
_LINE: Final[Mapping[str, Schema]] = {
    "sequence": COUNT,
    "time": TIME,
    "kind": text(),
    "amount_usd": USD,
    "balance_usd": USD,
    "entry": HEX,
}
_CHARGE_LINE: Final = record(
    {
        **_LINE,
        "kind": only("charge"),
        **dict.fromkeys(("inference", "api_key", "model"), text()),
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "price_sheet"), maybe(COUNT)),
        **dict.fromkeys(("base_usd", "fee_usd", "total_usd"), USD),
        "flags": listing(text()),
    }
)
_OTHER_LINE: Final = record({**_LINE, **dict.fromkeys(("reference", "actor", "reason"), _WORDS)})
STATEMENT: Final = record(
    {
        "account": record({"id": text(), "name": text()}),
        "period": record({"month": text(), "from": TIME, "to": TIME, "complete": flag()}),
        "currency": only("USD"),
        "opening_balance_usd": USD,
        "closing_balance_usd": USD,
        "deposits": _COUNTED,
        "corrections": _COUNTED,
        "charges": _CHARGES,
        "charges_by_model": mapping(_CHARGES),
        "voided_count": COUNT,
        "lines": listing({"anyOf": [_CHARGE_LINE, _OTHER_LINE]}),
    }
)

# --- prices and upstreams ---

_QUOTE: Final = record(
    {
        "upstream": text(),
        "unit": one_of_texts(("ngonka", "usd")),
        "amounts": record(dict.fromkeys(("input", "output", "call"), text())),
        "gnk_picousd": COUNT,
        "markup_ppm": COUNT,
    },
    words="What the price was made of.",
)
SHEET: Final = record(
    {
        "version": COUNT,
        "fee_ppm": COUNT,
        "models": mapping(
            record(
                {
                    **dict.fromkeys(("input_usd_per_1m", "output_usd_per_1m", "usd_per_call"), USD),
                    "free": flag(),
                    "quote": maybe(_QUOTE),
                }
            )
        ),
    }
)
_PLACE: Final = record(
    {
        **dict.fromkeys(("node", "url", "reason", "moved_to"), _WORDS),
        "state": one_of_texts([state.value for state in PlaceState]),
        "out_for_s": maybe(COUNT),
        "in_flight": COUNT,
        "ttft_ms": maybe(COUNT),
        "recent_failures": listing(record({"ago_s": COUNT, "kind": text()})),
        **dict.fromkeys(("answers", "implausible_usage", "reported_tokens", "counted_tokens"), COUNT),
    }
)
_NETWORK: Final = record(
    {},
    {
        "scheme": text(),
        "quiet_for_s": COUNT,
        "clock_lead_ms": maybe(integer()),
        "clock_corrected_ms": integer(),
        "clock_is_too_far": flag(),
        "nodes_are_discovered": flag(),
        "trouble": _WORDS,
    },
    "What is known of the network behind a signed upstream.",
)
UPSTREAMS: Final = record(
    {
        "data": listing(
            record(
                {
                    "name": text(),
                    "priority": integer(),
                    "weight": integer(),
                    "network": _NETWORK,
                    "places": listing(_PLACE),
                }
            )
        )
    }
)

ALARMS: Final = record(
    {
        "data": listing(
            record({**dict.fromkeys(("kind", "subject", "detail", "remedy"), text()), "since_ns": COUNT}),
        )
    }
)
WALLETS: Final = record(
    {
        "data": listing(
            record(
                {
                    **dict.fromkeys(("upstream", "wallet"), text()),
                    **dict.fromkeys(("spendable_ngonka", "escrowed_ngonka"), maybe(_NGONKA_TEXT)),
                    "key_published": maybe(flag()),
                    "phase": _WORDS,
                    "read_ns": maybe(COUNT),
                }
            )
        )
    }
)

# --- past calls ---

_BILLED: Final = dict.fromkeys(("billed_ngonka", "paid_ngonka", "unpaid_ngonka"), _NGONKA)
_TOKENS: Final = dict.fromkeys(("prompt_tokens", "completion_tokens"), maybe(COUNT))
_CALL: Final[Mapping[str, Schema]] = {
    "inference": text(),
    "state": one_of_texts(STATE_NAMES),
    **dict.fromkeys(("account", "api_key", "user", "tag", "model"), _WORDS),
    "price_sheet": maybe(COUNT),
    "began": TIME,
    "ended": maybe(TIME),
    "upstream": _WORDS,
    "node": _WORDS,
    "sendings": COUNT,
    **_TOKENS,
    **dict.fromkeys(("held_usd", "base_usd", "fee_usd", "total_usd"), USD),
    **_BILLED,
    "flags": listing(text()),
    "reason": _WORDS,
}
_SENDING: Final = record(
    {
        **dict.fromkeys(("part", "try"), maybe(COUNT)),
        **dict.fromkeys(("upstream", "node", "reference"), _WORDS),
        "began": TIME,
        "ended": maybe(TIME),
        **_TOKENS,
        "billed_ngonka": maybe(_NGONKA),
    }
)
_POSTING: Final = record({"account": text()}, {"usd": USD, "ngonka": _NGONKA})
_ENTRY: Final = record(
    {
        "id": HEX,
        "kind": text(),
        "time": TIME,
        **dict.fromkeys(("sequence", "part", "try"), maybe(COUNT)),
        **dict.fromkeys(("upstream", "node"), _WORDS),
        **_TOKENS,
        "flags": listing(text()),
        "reason": _WORDS,
        "postings": listing(_POSTING),
    }
)
CALLS: Final = record({"object": only("list"), "data": listing(record(_CALL)), **PAGE})
CALL: Final = record(
    {
        **_CALL,
        **dict.fromkeys(("prompt_tokens_max", "completion_tokens_max"), maybe(COUNT)),
        "overrun_or_loss_ngonka": maybe(_NGONKA),
        "overrun_or_loss_list_usd": maybe(USD),
        "bills": listing(record({"upstream": text(), **_BILLED})),
        "attempts": listing(_SENDING),
        "entries": listing(_ENTRY),
    }
)
MARGIN: Final = record(
    {
        **ASKED,
        "data": listing(
            record(
                {
                    "calls": COUNT,
                    **dict.fromkeys(("base_usd", "fee_usd", "total_usd"), USD),
                    **_BILLED,
                    **dict.fromkeys(("overrun_ngonka", "crash_ngonka"), _NGONKA),
                    **dict.fromkeys(("overrun_list_usd", "crash_list_usd"), USD),
                },
                {
                    "day": DATE,
                    **dict.fromkeys(("model", "upstream"), _WORDS),
                    **dict.fromkeys(("cost_usd", "margin_usd"), USD),
                },
            )
        ),
        **PAGE,
    }
)

# --- the proof of the books ---

EVENTS: Final = record(
    {"data": listing(record({"id": text(), "type": text(), "timestamp": TIME, "data": mapping(text())}))}
)
_LOSS: Final[Mapping[str, Schema]] = {"model": text(), "inferences": COUNT, "usd": USD, "ngonka": _NGONKA_TEXT}
_PROMISE: Final = open_record({"name": text(), "kept": flag(), "problems": COUNT}, "With the figures that it is about.")
REPORT: Final = record(
    {
        "clean": flag("Whether no promise is broken."),
        "replayed": one_of_texts(("all", "end")),
        **dict.fromkeys(("batches", "entries", "accounts", "open_holds", "problem_count"), COUNT),
        "kinds": mapping(COUNT),
        "usd": mapping(USD),
        "ngonka": mapping(_NGONKA_TEXT),
        "overrun": listing(record({**_LOSS, "cause": text()})),
        "crash_loss": listing(record({**_LOSS, "outcome": text()})),
        "promises": record(dict.fromkeys(PROMISES, _PROMISE)),
        "problems": listing(text()),
    }
)
