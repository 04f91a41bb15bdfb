"""What may be said of the ways to the network."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal, cast

from tallygate.config import kinds, places
from tallygate.config.keys import Key, Section, defaulting, optional, required
from tallygate.config.schema.bounds import DAY_S, TOKENS_MAX
from tallygate.core import ids
from tallygate.core.signing import Scheme

NGONKA_PER_TOKEN_MAX: Final = 10**9
"""1 GNK per token. With `TOKENS_MAX` it keeps a bill inside the 64 bits of a posting."""

NGONKA_PER_ATTEMPT_MAX: Final = 10**15
"""A million GNK per attempt."""

THEIR_MODEL_ID: Final = kinds.Text("a model id of visible ASCII characters", ids.THEIR_MODEL_ID)
_UPSTREAM_NAME: Final = kinds.Text("a name of 1 to 32 characters: a-z, 0-9 and -", re.compile(r"[a-z0-9-]{1,32}"))


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
        kinds.Choice("ngonka", "usd", "none"),
        '`"ngonka"` for `gonka`; for `openai` as `program` says, or `"none"`',
        "The unit of the rest.",
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
    routes = optional(
        kinds.Table(),
        "as above",
        'Another priority and weight for some models: `{"our id" = {priority = …, weight = …}}`.',
    )
    bills_to_end = optional(
        kinds.Flag(),
        "`true` for `gonka`, and as `program` says for `openai`",
        "Whether it bills an answer to its end also when the caller has left.",
    )
    flatten_content = optional(
        kinds.Flag(),
        "`true` for `gonka`, `false` for `openai`",
        "Whether message content that comes in text parts is sent to it as one string.",
    )
    max_tokens_floor = defaulting(
        kinds.Whole(1, TOKENS_MAX), 1, "It is never asked for fewer tokens than this, since it would bill them anyway."
    )
    tells_prices = defaulting(
        kinds.Flag(),
        default=True,
        meaning='Whether it is asked what models cost, where `[prices]` has `source = "network"`.',
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
        kinds.Choice(Scheme.HASH.value, Scheme.RAW.value, "auto"),
        "hash",
        'What is signed: `"hash"` for nodes since 0.2.6, `"raw"` for older ones; `"auto"` answers a node that refuses '
        "a signature once with the other one, and remembers what each node takes.",
    )
    nodes = optional(
        kinds.Array("an array of nodes", least=1),
        "required without `discovery`",
        "The nodes: `{url = …, address = …}`. Of two, the less loaded one is chosen.",
    )
    discovery = optional(
        kinds.Table(), "required without `nodes`", "Where to ask the network for its nodes: `{sources = […]}`."
    )


class OpenAIUpstream(Upstream):
    """What an upstream of kind `openai` has besides."""

    title = '[[upstreams]], kind = "openai"'
    program = cast(
        "Key[Literal['other', 'devshardctl', 'openbroker']]",
        defaulting(
            kinds.Choice("other", "devshardctl", "openbroker"),
            "other",
            'What answers there. `"devshardctl"` is the network\'s own gateway program, `"openbroker"` a broker that '
            "runs it: then `bills_to_end` is `true`, `cost` is 1 ngonka per token and 1000 per attempt, and models "
            "that it serves have a `default_max_tokens` of 3072, where this file says nothing else.",
        ),
    )
    base_url = required(places.Url(), "The URL before `/chat/completions`, usually ending in `/v1`.")
    api_key_env = optional(places.EnvName(), "no key", "The environment variable that holds the Bearer key.")
    api_key_file = optional(places.FileName(), "no key", "A file that holds the Bearer key, in place of a variable.")


# Each kind knows what belongs to the other.
GonkaUpstream.elsewhere = dict.fromkeys(
    OpenAIUpstream.declared().keys() - Upstream.declared().keys(), 'kind = "openai"'
)
OpenAIUpstream.elsewhere = dict.fromkeys(GonkaUpstream.declared().keys() - Upstream.declared().keys(), 'kind = "gonka"')


class Route(Section):
    """How an upstream is ranked for one model; what is not said is as for the others."""

    title = 'routes = {"our id" = { … }}'
    priority = optional(kinds.Whole(0, 1000), "as for the others", "Lower is tried first.")
    weight = optional(kinds.Whole(1, 1000), "as for the others", "Its share among upstreams of the same priority.")


class Discovery(Section):
    """Where nodes are discovered: the participants of the current epoch that the chain allows to take calls.

    A network that gives no answer, or nonsense, changes nothing: the nodes that are known stay. They are kept in a file
    beside the store (`.nodes`), so that they are known at a start while the network tells nothing, too.
    """

    title = "discovery = { … }"
    sources = required(
        kinds.Array("an array of URLs", least=1),
        "Public nodes to ask, in turn until one answers; with or without `/v1`.",
    )
    refresh_s = defaulting(kinds.Seconds(DAY_S), 300, "How often.")


class Wallet(Section):
    """Where a wallet's private key is: 64 hexadecimal digits (`0x` or not), or encrypted. Exactly one of three."""

    title = "wallets = [{ … }]"
    key_env = optional(places.EnvName(), "", "The environment variable that holds it.")
    key_file = optional(places.FileName(), "", "The file that holds it.")
    keystore_file = optional(places.FileName(), "", "The encrypted file that `tallygate wallet` has made of it.")
    passphrase_env = optional(places.EnvName(), "", "The environment variable with the keystore's passphrase.")


class Node(Section):
    """One Gonka node."""

    title = "nodes = [{ … }]"
    url = required(places.Url(), "Its public URL, with or without `/v1`.")
    address = required(places.NodeAddress(), "The `gonka1…` address that it answers as. It is part of what is signed.")
