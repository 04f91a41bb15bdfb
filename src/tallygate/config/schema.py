"""Everything that a configuration may say: one table of sections and keys, with kinds, defaults and meanings.

Whatever depends on the set of keys reads this table: what is unknown, what is missing, which defaults there are, and
the reference in `docs/configuration.md`. A key that is not here does not exist.

What may live here: declarations. What may not: anything that looks at more than one value.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import ClassVar, Final, Literal, cast

from tallygate.config import kinds, places
from tallygate.config.keys import Key, Section, defaulting, optional, required
from tallygate.core.pricing import PPM
from tallygate.core.signing import Scheme

ADMIN_KEY_VARIABLE: Final = "TALLYGATE_ADMIN_KEY"

DAY_S: Final = 86_400
TOKENS_MAX: Final = 100_000_000
"""More tokens than any model takes or makes; bounds what a slip of the keyboard can cost."""

NGONKA_PER_TOKEN_MAX: Final = 10**9
"""1 GNK per token. With `TOKENS_MAX` it keeps a bill inside the 64 bits of a posting."""

NGONKA_PER_ATTEMPT_MAX: Final = 10**15
"""A million GNK per attempt."""

MODEL_ID: Final = kinds.Text("a model id: letters, digits and . _ : / @ + -", re.compile(r"[A-Za-z0-9._:/@+-]{1,128}"))
THEIR_MODEL_ID: Final = kinds.Text("a model id of visible ASCII characters", re.compile(r"[!-~]{1,256}"))
FEATURE: Final = kinds.Text("a feature, such as tools", re.compile(r"[a-z0-9_-]{1,32}"))

_UPSTREAM_NAME: Final = kinds.Text("a name of 1 to 32 characters: a-z, 0-9 and -", re.compile(r"[a-z0-9-]{1,32}"))
_LATER_SCHEME: Final = {"auto": ('"auto" comes later.', 'For now, write "hash", or "raw" for nodes up to 0.2.5.')}


class Server(Section):
    """The public listener, which callers use."""

    title = "[server]"
    listen = defaulting(places.Listen(), "127.0.0.1:8080", "Where callers connect. Port 0 takes any free one.")
    keep_alive_s = defaulting(
        kinds.Seconds(3600), 15, "While nothing has come from upstream for so long, a streamed call gets a comment."
    )
    calls_max = defaulting(
        kinds.Whole(1, 1_000_000),
        5000,
        "How many calls may be under way at a time; one more is told to try again (503).",
    )
    drain_s = defaulting(
        kinds.Seconds(DAY_S, or_zero=True), 30, "How long calls under way may go on when the gateway is told to stop."
    )
    left_drain_s = defaulting(
        kinds.Seconds(3600, or_zero=True),
        30,
        "How long an answer is still read, unseen, whose caller has left, where the upstream bills it to its end "
        "anyway (`bills_to_end`). 0 cuts it off at once.",
    )
    default_temperature = defaulting(
        kinds.Temperature(), Decimal("0.7"), 'What is sent when a caller names no `temperature`; `"none"` sends none.'
    )
    header_timeout_s = defaulting(kinds.Seconds(3600), 10, "How long a caller may take to send a request's headers.")
    body_timeout_s = defaulting(kinds.Seconds(3600), 60, "How long a caller may take to send a request's body.")
    log_level = cast(
        "Key[Literal['debug', 'info', 'warning', 'error']]",
        defaulting(
            kinds.Choice("debug", "info", "warning", "error"), "info", "The least urgent lines that are logged."
        ),
    )


class Admin(Section):
    """The operator's listener, used by the command line beside a running gateway. Keep it off the public network."""

    title = "[admin]"
    listen = defaulting(places.Listen(), "127.0.0.1:8081", "Where the operator connects.")
    key_env = optional(
        places.EnvName(),
        f"`{ADMIN_KEY_VARIABLE}`",
        "The environment variable that holds the admin key, of at least 16 characters. "
        "If it is not set, every admin call is refused.",
    )
    key_file = optional(places.FileName(), "none", "A file that holds the admin key, in place of a variable.")


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
            'What happens when the most that a call can cost is more than the account has: `"refuse"` refuses it; '
            '`"shrink"` gives a call that names no `max_tokens` as many as the account can pay for.',
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


class Timeouts(Section):
    """How long the stages of a call to an upstream may take."""

    title = "timeouts = { … }"
    connect_s = defaulting(kinds.Seconds(DAY_S), 5, "To get a connection.")
    first_byte_s = defaulting(kinds.Seconds(DAY_S), 300, "From sending to the first byte of the answer's body.")
    idle_s = defaulting(kinds.Seconds(DAY_S), 120, "Silence within the body.")
    total_s = defaulting(kinds.Seconds(DAY_S), 1800, "The whole call.")


class Cost(Section):
    """What an upstream bills the operator, for the margin: customers pay by `[models]`, whatever this says.

    With the unit `"ngonka"`, all are whole numbers of ngonka (1 GNK = 10^9 ngonka), `input` and `output` per token.
    With `"usd"`, `input` and `output` are dollars per million tokens, and `per_attempt` is in dollars; both are
    booked as ngonka, rounded up. With `"none"`, nothing is known, and nothing else may be said.
    """

    title = "cost = { … }"
    unit = optional(
        kinds.Choice("ngonka", "usd", "none"), '`"ngonka"` for `gonka`, `"none"` for `openai`', "The unit of the rest."
    )
    input = optional(kinds.Anything("ngonka or dollars"), "1 ngonka; required for usd", "Per prompt token.")
    output = optional(kinds.Anything("ngonka or dollars"), "1 ngonka; required for usd", "Per completion token.")
    per_attempt = optional(kinds.Anything("ngonka or dollars"), "0", "Per attempt, however it ends.")
    usd_per_gnk = optional(kinds.USD, "required for usd", "What 1 GNK costs.")


class NgonkaCost(Section):
    """A cost in ngonka."""

    title = Cost.title
    elsewhere: ClassVar = {"usd_per_gnk": 'the unit "usd"'}
    unit = Cost.unit
    input = defaulting(kinds.Whole(0, NGONKA_PER_TOKEN_MAX), 1, Cost.input.meaning)
    output = defaulting(kinds.Whole(0, NGONKA_PER_TOKEN_MAX), 1, Cost.output.meaning)
    per_attempt = defaulting(kinds.Whole(0, NGONKA_PER_ATTEMPT_MAX), 0, Cost.per_attempt.meaning)


class UsdCost(Section):
    """A cost in dollars."""

    title = Cost.title
    unit = Cost.unit
    input = required(kinds.USD, Cost.input.meaning)
    output = required(kinds.USD, Cost.output.meaning)
    per_attempt = defaulting(kinds.USD, 0, Cost.per_attempt.meaning)
    usd_per_gnk = required(kinds.USD, Cost.usd_per_gnk.meaning)


class NoCost(Section):
    """A cost that is not known."""

    title = Cost.title
    elsewhere: ClassVar = dict.fromkeys(("input", "output", "per_attempt"), 'the unit "ngonka" or "usd"') | {
        "usd_per_gnk": 'the unit "usd"'
    }
    unit = Cost.unit


class Upstream(Section):
    """One way to reach the network; there may be several. Those of the lowest `priority` are tried first."""

    title = "[[upstreams]]"
    name = required(_UPSTREAM_NAME, "Its name in logs, books and reports. Keep it: the books go by it.")
    kind = required(
        kinds.Choice("gonka", "openai"),
        '`"gonka"`: nodes that take signed requests. `"openai"`: anything that speaks OpenAI\'s API with a Bearer key.',
    )
    models = defaulting(
        kinds.ModelNames(),
        "*",
        'Which models it serves, and what it calls them: `{"our id" = "their id"}`. `"*"` takes every id as it is.',
    )
    priority = defaulting(kinds.Whole(0, 1000), 0, "Lower is tried first.")
    weight = defaulting(kinds.Whole(1, 1000), 1, "Its share of the calls among upstreams of the same priority.")
    bills_to_end = optional(
        kinds.Flag(),
        "`true` for `gonka`, `false` for `openai`",
        "Whether it bills an answer to its end also when the caller has left.",
    )
    max_tokens_floor = defaulting(
        kinds.Whole(1, TOKENS_MAX), 1, "It is never asked for fewer tokens than this, since it would bill them anyway."
    )
    cost = optional(kinds.Table(), "see below", "What it bills the operator.")
    timeouts = optional(kinds.Table(), "see below", "How long its calls may take.")
    ca_file = optional(places.FileName(), "the system's certificates", "Certificates (PEM) to check its servers with.")


class GonkaUpstream(Upstream):
    """What an upstream of kind `gonka` has besides."""

    title = '[[upstreams]], kind = "gonka"'
    wallets = required(
        kinds.Array("an array of wallets", least=1),
        "The wallets that pay: `{key_env = …}` or `{key_file = …}`; in turns.",
    )
    scheme = defaulting(
        kinds.Choice(Scheme.HASH.value, Scheme.RAW.value, refused=_LATER_SCHEME),
        "hash",
        'What is signed: `"hash"` for nodes since 0.2.6, `"raw"` for older ones.',
    )
    nodes = required(kinds.Array("an array of nodes", least=1), "The nodes: `{url = …, address = …}`; in turns.")


class OpenAIUpstream(Upstream):
    """What an upstream of kind `openai` has besides."""

    title = '[[upstreams]], kind = "openai"'
    base_url = required(places.Url(), "The URL before `/chat/completions`, usually ending in `/v1`.")
    api_key_env = optional(places.EnvName(), "no key", "The environment variable that holds the Bearer key.")
    api_key_file = optional(places.FileName(), "no key", "A file that holds the Bearer key, in place of a variable.")


# Each kind knows what belongs to the other.
GonkaUpstream.elsewhere = dict.fromkeys(
    OpenAIUpstream.declared().keys() - Upstream.declared().keys(), 'kind = "openai"'
)
OpenAIUpstream.elsewhere = dict.fromkeys(GonkaUpstream.declared().keys() - Upstream.declared().keys(), 'kind = "gonka"')


class Wallet(Section):
    """Where a wallet's private key is, as 64 hexadecimal digits, with or without `0x`. Exactly one of the two."""

    title = "wallets = [{ … }]"
    key_env = optional(places.EnvName(), "", "The environment variable that holds it.")
    key_file = optional(places.FileName(), "", "The file that holds it.")


class Node(Section):
    """One Gonka node."""

    title = "nodes = [{ … }]"
    url = required(places.Url(), "Its public URL, with or without `/v1`.")
    address = required(places.NodeAddress(), "The `gonka1…` address that it answers as. It is part of what is signed.")


class Model(Section):
    """One model that callers may ask for. Ids are matched without regard to case.

    Prices must be exact: write them as texts. Without any, the model is priced with `tallygate prices set`, and
    refused until then. A price of zero needs `free = true`.
    """

    title = '[models."<id>"]'
    aliases = defaulting(kinds.Array("an array of model ids"), [], "Other ids that callers may use.")
    context_length = optional(
        kinds.Whole(1, TOKENS_MAX), "not known", "The most tokens of prompt and answer together; shown to callers."
    )
    max_output_tokens = optional(
        kinds.Whole(1, TOKENS_MAX),
        "4096, or `context_length` if that is less",
        "The most tokens of one answer; callers who ask for more get this.",
    )
    default_max_tokens = optional(
        kinds.Whole(1, TOKENS_MAX),
        "4096, or `max_output_tokens` if that is less",
        "The most tokens of an answer whose caller has set no limit. Money for so many is set aside.",
    )
    template_tokens = defaulting(
        kinds.Whole(0, TOKENS_MAX), 64, "The most tokens that the chat template adds to a prompt."
    )
    tools_tokens = defaulting(kinds.Whole(0, TOKENS_MAX), 512, "The most that it adds when tools are given.")
    features = defaulting(
        kinds.Array("an array of features"), [], 'What it can do beyond chat, such as `"tools"`; shown to callers.'
    )
    tokenizer_file = optional(
        places.FileName(),
        "none: by bytes per token, learned",
        "The model's own tokenizer (`tokenizer.json`), to count what an upstream does not tell. "
        "Needs the extra `tokenizers`.",
    )
    input_usd_per_1m = optional(kinds.USD_PER_MILLION, "not priced", "Dollars per million prompt tokens.")
    output_usd_per_1m = optional(kinds.USD_PER_MILLION, "not priced", "Dollars per million completion tokens.")
    usd_per_call = optional(kinds.USD, "0", "Dollars per call.")
    free = defaulting(kinds.Flag(), default=False, meaning="Whether it costs nothing.")


class Root(Section):
    """The whole file."""

    title = "tallygate.toml"
    server = optional(kinds.Table(), "", "The public listener.")
    admin = optional(kinds.Table(), "", "The operator's listener.")
    store = optional(kinds.Table(), "", "The books.")
    billing = optional(kinds.Table(), "", "How customers are charged.")
    events = optional(kinds.Table(), "", "What the operator is told of accounts.")
    upstreams = required(kinds.Array("an array of tables, [[upstreams]]", least=1), "The ways to the network.")
    models = optional(kinds.Table(), "", "The models.")


REFERENCE: Final[tuple[type[Section], ...]] = (
    Server,
    Admin,
    Store,
    Billing,
    Events,
    Upstream,
    GonkaUpstream,
    Wallet,
    Node,
    OpenAIUpstream,
    Cost,
    Timeouts,
    Model,
)
"""The sections, in the order in which the reference shows them."""
