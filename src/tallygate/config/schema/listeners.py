"""What may be said of the two listeners: the callers' and the operator's."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, cast

from tallygate.config import kinds, places
from tallygate.config.keys import Key, Section, defaulting, optional
from tallygate.config.schema.bounds import DAY_S

ADMIN_KEY_VARIABLE: Final = "TALLYGATE_ADMIN_KEY"


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
    retry_percent = defaulting(
        kinds.Whole(0, 100),
        20,
        "How many retries 100 calls pay for. Retries mend the failure of a node; when the whole network fails, they "
        "only add to its load.",
    )
    retries_per_s = defaulting(
        kinds.Whole(0, 1_000_000), 10, "How many retries there may be each second besides, also when few calls come."
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
    public_models = defaulting(
        kinds.Flag(), default=False, meaning="Whether `/v1/models` answers everybody; else it asks for an API key."
    )
    unknown_parameters = cast(
        "Key[Literal['refuse', 'pass', 'strip']]",
        defaulting(
            kinds.Choice("refuse", "pass", "strip"),
            "refuse",
            'What happens to parameters of a call that are not known: `"refuse"` names them, `"pass"` sends them on, '
            '`"strip"` leaves them out and says so. What can raise the cost of a call is always refused.',
        ),
    )
    repair = defaulting(
        kinds.Flag(),
        default=False,
        meaning="Whether to leave out what the network's own gateway would leave out without a word, and to take "
        '`tool_choice: "required"` for `"auto"` as it does, and tell the caller.',
    )
    header_timeout_s = defaulting(kinds.Seconds(3600), 10, "How long a caller may take to send a request's headers.")
    body_timeout_s = defaulting(kinds.Seconds(3600), 60, "How long a caller may take to send a request's body.")
    requests_per_minute_per_address = optional(
        kinds.Whole(1, 10_000_000),
        "no limit",
        "How many requests in any 60 seconds are taken from one address (of IPv6: one /64), good keys or not. "
        "`/health` is free.",
    )
    failed_keys_per_minute_per_address = optional(
        kinds.Whole(1, 10_000_000),
        "no limit",
        "How many requests with a key that is none are told so (401), from one address in any 60 seconds. One more is "
        "told to wait (429), and its connection is read but once a second. Good keys are served all the same. Admin "
        "keys are counted by themselves.",
    )
    failed_keys_per_second = defaulting(
        kinds.Whole(1, 1_000_000),
        500,
        "How many requests with a key that is none are answered each second in all. Connections that have just shown "
        "one wait for their turn, so that whoever tries keys takes little from good callers; a trusted proxy's do not.",
    )
    trusted_proxies = defaulting(
        places.Networks(),
        [],
        "The proxies in front, as addresses or networks: from them, a caller's address is the last one in "
        "`forwarded_header` that is not a proxy's own.",
    )
    forwarded_header = cast(
        "Key[Literal['x-forwarded-for', 'forwarded']]",
        defaulting(
            kinds.Choice("x-forwarded-for", "forwarded"),
            "x-forwarded-for",
            "The header in which the proxies say whom they call for; it must be one that they never pass on unchanged.",
        ),
    )
    cors_origins = defaulting(
        places.Origins(),
        [],
        'The web pages whose scripts may call from a browser, such as `["https://chat.example"]`; `"*"` for all.',
    )
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


class Metrics(Section):
    """Figures for Prometheus, at `/metrics`: how much is called, earned and lost, and how the parts are.

    They ask for a key of their own, so that what scrapes them need not hold the admin key, which moves money; the
    admin key opens them, too. Without either, they are refused.
    """

    title = "[metrics]"
    listener = cast(
        "Key[Literal['admin', 'public', 'off']]",
        defaulting(
            kinds.Choice("admin", "public", "off"),
            "admin",
            'Where they are: beside which routes, or nowhere (`"off"`).',
        ),
    )
    key_env = optional(
        places.EnvName(), "the admin key alone", "The environment variable that holds their key, to be sent as Bearer."
    )
    key_file = optional(places.FileName(), "the admin key alone", "A file that holds it, in place of a variable.")
