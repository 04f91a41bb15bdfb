"""What callers are answered, as JSON Schema. All members are listed, but where an answer is the network's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.openapi.asked import AMOUNT
from tallygate.api.openapi.shapes import (
    Schema,
    flag,
    integer,
    listing,
    maybe,
    number,
    one_of_texts,
    only,
    open_record,
    record,
    ref,
    text,
)
from tallygate.api.problems import PROBLEMS
from tallygate.api.usage import SUMS
from tallygate.core.access import KeyStatus
from tallygate.core.proofs.receipt import BALANCE, RECEIPT

if TYPE_CHECKING:
    from collections.abc import Mapping

USD: Final = text("US dollars, exactly.", pattern=AMOUNT)
TIME: Final = text("ISO 8601, UTC.", format="date-time")
COUNT: Final = integer(minimum=0)
BASE64: Final = text(contentEncoding="base64", pattern="^[A-Za-z0-9+/]*=*$")
HEX: Final = text(pattern="^[0-9a-f]+$")
DATE: Final = text(format="date")
_DOLLARS: Final = number("US dollars.", minimum=0)
_STATUS: Final = one_of_texts([status.value for status in KeyStatus])

ERROR: Final = record(
    {
        "error": record(
            {
                "message": text("For people."),
                "type": one_of_texts(sorted({problem.type for problem in PROBLEMS.values()})),
                "param": {"type": ["string", "null"], "description": "The place, or the name of a limit."},
                "code": text("For programs; `insufficient_quota` by setting in the place of `insufficient_balance`."),
            },
            {"metadata": {"type": "object", "additionalProperties": text(), "description": "Exact amounts and ids."}},
        )
    },
)

# --- calls ---

USAGE: Final = record(
    {
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), COUNT),
        **dict.fromkeys(("base_cost_usd", "platform_fee_usd", "total_cost_usd"), _DOLLARS),
        **dict.fromkeys(("base_cost_usd_exact", "platform_fee_usd_exact", "total_cost_usd_exact"), USD),
    },
    {
        "prompt_tokens_details": {"type": "object", "additionalProperties": COUNT},
        "completion_tokens_details": {"type": "object", "additionalProperties": COUNT},
        "estimated": only(True, "We counted: the network's report was missing or could not be true."),
        "overrun": only(True, "The network reported more than was set aside, which is what was charged."),
    },
    "What was charged for, and what it cost: base + fee = total.",
)
_FINISH: Final = maybe(text())
_HEAD: Final[Mapping[str, Schema]] = {
    "id": text(pattern="^chatcmpl-"),
    "created": COUNT,
    "model": text("The canonical id."),
}
CHAT_COMPLETION: Final = open_record(
    {
        **_HEAD,
        "object": only("chat.completion"),
        "choices": listing(
            open_record({"index": COUNT, "message": open_record({"role": text()}), "finish_reason": _FINISH}),
            minItems=1,
        ),
        "usage": ref("Usage"),
    }
)
_TEXT_CHOICE: Final = open_record(
    {"text": text(), "index": COUNT, "logprobs": {"type": "null"}, "finish_reason": _FINISH}
)
TEXT_COMPLETION: Final = open_record(
    {
        **_HEAD,
        "object": only("text_completion"),
        "choices": listing(_TEXT_CHOICE, minItems=1),
        "usage": ref("Usage"),
    }
)

CHAT_CHUNK: Final[Schema] = {
    "anyOf": [
        open_record(
            {
                **_HEAD,
                "object": only("chat.completion.chunk"),
                "choices": listing(
                    open_record({"index": COUNT, "delta": {"type": "object"}, "finish_reason": _FINISH})
                ),
            },
            optional={"usage": ref("Usage")},
        ),
        ref("StreamError"),
    ]
}
TEXT_CHUNK: Final[Schema] = {
    "anyOf": [
        open_record(
            {**_HEAD, "object": only("text_completion"), "choices": listing(_TEXT_CHOICE)},
            optional={"usage": ref("Usage")},
        ),
        ref("StreamError"),
    ]
}
STREAM_ERROR: Final = record(
    ERROR["properties"],
    {"usage": ref("Usage")},
    "The end of a stream that fails: with what was charged, without `[DONE]`.",
)


def stream_of(chunk: str) -> Schema:
    """Return the shape of each event of a stream."""
    frame = text(contentMediaType="application/json", contentSchema=ref(chunk))
    data = {"anyOf": [frame, only("[DONE]", "The end.")], "description": "A chunk as JSON."}
    return record(
        {"data": data},
        {"event": only("message")},
        "One server-sent event; comments such as `: keep-alive` come between.",
    )


_BALANCE_MEMBERS: Final[Mapping[str, Schema]] = dict.fromkeys(("balance_usd", "available_usd", "held_usd"), USD)
BALANCE_NOW: Final = record(_BALANCE_MEMBERS, words="balance = available + held")
ESTIMATE: Final = record(
    {
        "object": only("estimate"),
        "accepted": flag("Whether the call would be taken."),
        "refusal": maybe(record({"status": integer(), "error": ERROR["properties"]["error"]})),
        "model": maybe(text()),
        "upstreams": maybe(listing(text())),
        "changes": maybe(text()),
        "hold": maybe(record({"usd": USD, "prompt_tokens_max": COUNT, "completion_tokens_max": COUNT})),
        "likely": maybe(
            record(
                {
                    "prompt_tokens": COUNT,
                    "completion_tokens": COUNT,
                    **dict.fromkeys(("base_cost_usd", "platform_fee_usd", "total_cost_usd"), USD),
                    "prompt_counted_by": text(),
                    "completion_assumed": text(),
                }
            )
        ),
        "balance": ref("Balance"),
    }
)

# --- models and prices ---

_MODALITIES: Final = listing(only("text"))
MODEL: Final = record(
    {
        "id": text(),
        "object": only("model"),
        "created": COUNT,
        "owned_by": text(),
        "canonical_slug": text(),
        "name": text(),
        "status": one_of_texts(("available", "degraded")),
        "context_length": maybe(COUNT),
        "architecture": record({"modality": text(), "input_modalities": _MODALITIES, "output_modalities": _MODALITIES}),
        "input_modalities": _MODALITIES,
        "output_modalities": _MODALITIES,
        "pricing": record(
            dict.fromkeys(("prompt", "completion", "request"), text("US dollars, exactly, fee included."))
        ),
        "top_provider": record(
            {"context_length": maybe(COUNT), "max_completion_tokens": COUNT, "is_moderated": flag()}
        ),
        "per_request_limits": {"type": "null"},
        "supported_parameters": listing(text()),
        "supported_features": listing(text()),
    }
)
MODELS: Final = record({"object": only("list"), "data": listing(ref("Model"))})
_MILLION: Final = record(dict.fromkeys(("network", "platformFee", "total"), _DOLLARS))
PRICE_LIST: Final = record(
    {
        "success": only(True),
        "data": record(
            {
                "updatedAt": TIME,
                "fees": record({"platformFeeRate": number()}),
                "models": listing(
                    record(
                        {
                            "id": text(),
                            **dict.fromkeys(
                                ("usdPer1MTokens", "usdPer1MInputTokens", "usdPer1MOutputTokens"), _MILLION
                            ),
                            "usdPerRequest": _DOLLARS,
                        }
                    )
                ),
            }
        ),
    }
)
_MONITORED: Final = (
    *("usd_per_million_tokens", "input_usd_per_million_tokens"),
    *("output_usd_per_million_tokens", "usd_per_request"),
)
MONITORED_PRICES: Final = record(
    {"models": listing(record({"id": text(), "model_id": text(), **dict.fromkeys(_MONITORED, _DOLLARS)}))}
)

# --- the caller itself ---

_RATE: Final = maybe(record({"limit": COUNT, "remaining": COUNT, "reset": text("Such as `1s` or `6m0s`.")}))
_STANDING: Final = record({"usd": USD, "status": one_of_texts(("active", "low", "suspended"))})
KEY_STATUS: Final = record(
    {
        "ok": only(True),
        "status": _STATUS,
        "key": record({"id": text(), "name": text(), "prefix": text()}),
        "settings": record(dict.fromkeys(("maxRpm", "maxTpm", "maxConcurrent"), maybe(COUNT))),
        "limits": record(
            {
                "requests": _RATE,
                "tokens": _RATE,
                "under_way": COUNT,
                "spend": listing(
                    record(
                        {
                            "of": one_of_texts(("key", "account")),
                            "limit": text(),
                            **dict.fromkeys(("limit_usd", "spent_usd", "held_usd"), USD),
                        }
                    )
                ),
            }
        ),
        "balance": _STANDING,
    }
)
WHOAMI: Final = record(
    {
        "success": only(True),
        "data": record(
            {
                "user": record({"emailMasked": text(), "emailVerified": flag()}),
                "apiKey": record(
                    {
                        "name": text(),
                        "maskedKey": text(),
                        "status": _STATUS,
                        "expiresAt": maybe(TIME),
                        "lastUsed": {"type": "null"},
                    }
                ),
                "balance": _STANDING,
            }
        ),
    }
)
WHOAMI_ERROR: Final = record(
    {
        "success": only(False),
        "error": record(
            {"message": text(), "code": text(), "statusCode": integer(), "requestId": text(), "timestamp": TIME}
        ),
    }
)

# --- past calls, and proofs ---

PAGE: Final[Mapping[str, Schema]] = {
    "has_more": flag(),
    "next_cursor": {"type": ["string", "null"], "description": "The `cursor` of the next page."},
}
ASKED: Final[Mapping[str, Schema]] = {
    "object": only("list"),
    "from": DATE,
    "to": DATE,
    "by": listing(text()),
    "filters": {"type": "object", "additionalProperties": text()},
}
_SUMS: Final = {name: USD if name.endswith("_usd") else COUNT for name in SUMS}
USAGE_SUMS: Final = record(
    {
        **ASKED,
        "data": listing(record(_SUMS, {"day": DATE, **dict.fromkeys(("model", "key", "user", "tag"), maybe(text()))})),
        **PAGE,
    }
)
CSV: Final = text("The rows as comma-separated values, under a line of names.")

_SIGNED: Final[Mapping[str, Schema]] = {"body": BASE64, "sig": BASE64, "key_id": text()}
_CHECKPOINT_HEAD: Final = record(
    {
        "writer": HEX,
        "epoch": COUNT,
        "sequence": COUNT,
        "header_hash": HEX,
        "tree_size": COUNT,
        "tree_root": HEX,
    }
)
CHECKPOINT: Final = record(
    {
        **_SIGNED,
        "public_key": HEX,
        "checkpoint": record(
            {
                "time_ns": COUNT,
                "heads": listing(_CHECKPOINT_HEAD),
                "totals": listing(record({"book": text(), "class": text(), "total": text(pattern="^-?[0-9]+$")})),
                "accounts_root": HEX,
            },
            words="What the body says; only the body is signed.",
        ),
    }
)
_PATH: Final = listing(BASE64)
RECEIPT_DOCUMENT: Final = record(
    {
        "form": only(RECEIPT),
        "inference": text(),
        "entries": listing(
            record({"entry": BASE64, "index": COUNT, "path": _PATH, "header": BASE64, "header_path": _PATH})
        ),
        "checkpoint": record(_SIGNED),
        "public_key": HEX,
    }
)
BALANCE_DOCUMENT: Final = record(
    {
        "form": only(BALANCE),
        "leaf": BASE64,
        "index": COUNT,
        "size": COUNT,
        "path": _PATH,
        "checkpoint": record(_SIGNED),
        "public_key": HEX,
    }
)

LIVE: Final = record({"status": only("ok")})
READY: Final = record({"status": one_of_texts(("ok", "not_ready")), "reasons": listing(text())})
