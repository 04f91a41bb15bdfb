"""What is asked, as JSON Schema: the bodies of calls, the members of the operator's requests, the queries.

The names come from the tables that the readers themselves go by (`core.openai.PARAMETERS`, `core.completions.KNOWN`,
`Route.fields`, `Route.query`); here stands what a value may be, with the numbers of the checks. A name that has no
shape here is a KeyError, which a test meets before anybody else.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Final

from tallygate.api.admin.inferences import STATE_NAMES
from tallygate.api.admin.keys import GRACE_S_MAX
from tallygate.api.openapi.shapes import (
    Schema,
    flag,
    integer,
    listing,
    mapping,
    maybe,
    number,
    one_of_texts,
    open_record,
    record,
    text,
)
from tallygate.api.queries import VALUE_CHARACTERS_MAX
from tallygate.api.terms import COUNT_MAX, MODELS_MAX, NAMES, SPENDS
from tallygate.core.completions import CHOICES_MAX as COMPLETION_CHOICES_MAX
from tallygate.core.completions import PARAMETERS as COMPLETION_PARAMETERS
from tallygate.core.ledger.entry import AMOUNT_MAX
from tallygate.core.openai import CHOICES_MAX, MAX_TOKENS_MAX, PARAMETERS
from tallygate.core.openai.formats import JSON_OBJECT, JSON_SCHEMA, TEXT
from tallygate.core.openai.messages import MESSAGES_MAX, ROLES
from tallygate.core.openai.sampling import (
    LOGIT_BIASES_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_MAX,
    SEED_MAX,
    STOPS_MAX,
    TOP_LOGPROBS_MAX,
    USER_BYTES_MAX,
)
from tallygate.core.openai.tools import TOOLS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.api.http import Fields

# --- calls ---

_NAME: Final = text(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")
_SCHEMA: Final[Schema] = {"type": "object", "description": "A JSON schema."}
_FUNCTION: Final = open_record(
    {"name": _NAME},
    optional={"description": maybe(text()), "strict": maybe(flag()), "parameters": maybe(_SCHEMA)},
)
_PART: Final = open_record({"type": {"const": "text"}, "text": text()})
_CONTENT: Final[Schema] = {"anyOf": [text(), listing(_PART, minItems=1)]}
_MESSAGE: Final = open_record(
    {"role": one_of_texts(sorted(ROLES))},
    optional={
        "content": maybe(_CONTENT),
        "name": maybe(text()),
        "tool_calls": maybe(listing(open_record({"id": text(minLength=1), "function": {"type": "object"}}))),
        "tool_call_id": maybe(text()),
    },
)
_CHOICE_OF_TOOL: Final = open_record({"type": {"const": "function"}, "function": open_record({"name": _NAME})})
_FORMATS: Final[Schema] = {
    "oneOf": [
        open_record({"type": one_of_texts((TEXT, JSON_OBJECT))}),
        open_record(
            {
                "type": {"const": JSON_SCHEMA},
                "json_schema": open_record(
                    {"name": _NAME, "schema": _SCHEMA},
                    optional={"description": maybe(text()), "strict": maybe(flag())},
                ),
            }
        ),
    ]
}
_PENALTY: Final = number(minimum=-2, maximum=2)
_TOKENS: Final = integer(minimum=1, maximum=MAX_TOKENS_MAX)

SHAPES: Final[Mapping[str, Schema]] = {
    "model": text(minLength=1, maxLength=256),
    "messages": listing(_MESSAGE, minItems=1, maxItems=MESSAGES_MAX),
    "temperature": number(minimum=0, maximum=2),
    "top_p": number(exclusiveMinimum=0, maximum=1),
    "n": integer(minimum=1, maximum=CHOICES_MAX),
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "stream": flag(),
    "stream_options": record({}, {"include_usage": maybe(flag())}),
    "stop": {"anyOf": [text(minLength=1), listing(text(minLength=1), maxItems=STOPS_MAX)]},
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "tools": listing(open_record({"type": {"const": "function"}, "function": _FUNCTION}), maxItems=TOOLS_MAX),
    "tool_choice": {"anyOf": [one_of_texts(("none", "auto", "required")), _CHOICE_OF_TOOL]},
    "parallel_tool_calls": flag(),
    "thinking": open_record({}, optional={"type": maybe(text()), "budget_tokens": maybe(integer(minimum=0))}),
    "response_format": _FORMATS,
    "seed": integer(minimum=-SEED_MAX - 1, maximum=SEED_MAX),
    "logprobs": flag(),
    "top_logprobs": integer(minimum=0, maximum=TOP_LOGPROBS_MAX),
    "logit_bias": mapping(
        number(minimum=-100, maximum=100),
        propertyNames={"pattern": "^[0-9]{1,10}$"},
        maxProperties=LOGIT_BIASES_MAX,
    ),
    "user": text(maxLength=USER_BYTES_MAX),
    "metadata": mapping(text(maxLength=METADATA_VALUE_MAX), maxProperties=METADATA_PAIRS_MAX),
    "extra_body": {"type": "object"},
    "prompt": {"anyOf": [text(), listing(text(), minItems=1, maxItems=COMPLETION_CHOICES_MAX)]},
}
"""What each parameter of a call may be, null aside."""


def describe_call(parameters: Mapping[str, str], required: tuple[str, ...]) -> Schema:
    """Return the shape of a call's body: null counts as absent, and a name that is not listed is refused.

    Args:
        parameters: The table of its parameters, in words.
        required: Those that it cannot go without.
    """
    members = {
        name: {**(SHAPES[name] if name in required else maybe(SHAPES[name])), "description": words}
        for name, words in parameters.items()
    }
    return {**record(members), "required": list(required)}


CHAT: Final = describe_call(PARAMETERS, ("model", "messages"))
COMPLETION: Final = describe_call(COMPLETION_PARAMETERS, ("model", "prompt"))

# --- the operator's requests ---

AMOUNT: Final = r"^[+\-]?[0-9]{1,15}(\.[0-9]{1,12})?$"
_SPEND: Final = text("US dollars, such as `2.50`.", pattern=r"^\s*\+?[0-9]{1,15}(\.[0-9]{1,12})?\s*$")
_COUNT: Final = integer(minimum=1, maximum=COUNT_MAX)
_PRICE: Final = text("US dollars per million tokens.", pattern=r"^\s*\+?[0-9]{1,15}(\.[0-9]{1,12})?\s*$")

LIMITS: Final = record({}, {outside: maybe(_SPEND if name in SPENDS else _COUNT) for outside, name in NAMES.items()})

MEMBERS: Final[Mapping[str, Schema]] = {
    "account": text("The id of an account."),
    "name": text("1 to 100 printable characters.", minLength=1),
    "usd": text("US dollars as a plain decimal, such as `5` or `0.25`.", pattern=AMOUNT),
    "reference": text(
        "The payer's own, 1 to 200 printable characters, under which money is booked once.", minLength=1, maxLength=200
    ),
    "reason": text("Why: 1 to 200 printable characters.", minLength=1),
    "actor": text("Who does it; `operator` where nobody is named.", minLength=1),
    "expires_ns": integer("When the key ends: nanoseconds since 1970, UTC.", minimum=1, maximum=AMOUNT_MAX),
    "models": listing(text(), "The models that the key may use; null allows all.", minItems=1, maxItems=MODELS_MAX),
    "limits": {
        **LIMITS,
        "description": f"An object of limits by name; null takes one away: {', '.join(f'`{name}`' for name in NAMES)}.",
    },
    "sha256": text(
        "The SHA-256 of a key that was made elsewhere, as 64 hexadecimal digits.", pattern="^[0-9a-fA-F]{64}$"
    ),
    "grace_s": integer(
        f"How long the old secret works beside the new one: 0 to {GRACE_S_MAX} seconds.", minimum=0, maximum=GRACE_S_MAX
    ),
    "model": text("The id of a model.", pattern=r"^[A-Za-z0-9._:/@+\-]{1,128}$"),
    "input": _PRICE,
    "output": _PRICE,
    "call": text("US dollars per call.", pattern=r"^\s*\+?[0-9]{1,15}(\.[0-9]{1,12})?\s*$"),
    "network": flag("Whether the network's price counts again in the place of the operator's."),
    "free": flag("Whether the model costs nothing; goes with no price."),
}
"""What each member of the operator's requests may be."""


def describe_fields(fields: Fields, required: tuple[str, ...]) -> Schema:
    """Return the shape of a body that `read_fields` reads."""
    members = {name: maybe(MEMBERS[name]) if _is_nullable(kind) else MEMBERS[name] for name, kind in fields.items()}
    needed = {name: members[name] for name in required}
    return record(needed, {name: shape for name, shape in members.items() if name not in needed})


def _is_nullable(kind: type | tuple[type, ...]) -> bool:
    return isinstance(kind, tuple) and NoneType in kind


# --- queries ---

_ANY: Final = {"minLength": 1, "maxLength": VALUE_CHARACTERS_MAX}
_DAY: Final = {"format": "date"}

QUERY: Final[Mapping[str, Schema]] = {
    "account": text("The id of an account.", **_ANY),
    "by": text("What rows are apart by: `total`, or some names with commas between.", **_ANY),
    "cursor": text("The `next_cursor` of an answer, sent with the same parameters.", **_ANY),
    "flags": text("What must all have been special about an ending, with commas between.", **_ANY),
    "format": one_of_texts(("json", "csv"), "`json` or `csv`; else the header `accept` decides."),
    "from": text("The first day, of UTC.", **_DAY),
    "inference": text("The id of the only inference that is wanted.", **_ANY),
    "key": text("The id of an API key.", **_ANY),
    "limit": integer("How many rows at most, from 1.", minimum=1),
    "model": text("The id of a model.", **_ANY),
    "month": text("A month of UTC such as `2026-01`.", pattern="^(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$"),
    "node": text("The URL of a node.", **_ANY),
    "state": one_of_texts(STATE_NAMES, f"What became of it: {', '.join(STATE_NAMES)}."),
    "tag": text("The text that calls were tagged with.", **_ANY),
    "to": text("The last day, of UTC.", **_DAY),
    "upstream": text("The name of an upstream.", **_ANY),
    "usd_per_gnk": text("What a GNK costs, in US dollars.", pattern=AMOUNT),
    "user": text("The `user` that calls came with.", **_ANY),
}
"""What each parameter of a query may be."""
