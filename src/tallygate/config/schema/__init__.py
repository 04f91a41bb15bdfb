"""Everything that a configuration may say: one table of sections and keys, with kinds, defaults and meanings.

Whatever depends on the set of keys reads this table: what is unknown, what is missing, which defaults there are, and
the reference in `docs/configuration.md`. A key that is not here does not exist.

What may live in this package: declarations. What may not: anything that looks at more than one value.
"""

from __future__ import annotations

from typing import Final

from tallygate.config import kinds
from tallygate.config.keys import Section, optional, required
from tallygate.config.schema.books import Billing, Events, Store
from tallygate.config.schema.feeds import Gnk, Prices, Wallets
from tallygate.config.schema.keys import Keys
from tallygate.config.schema.limits import AccountLimits, KeyLimits, Limits
from tallygate.config.schema.listeners import Admin, Metrics, Server
from tallygate.config.schema.models import Model
from tallygate.config.schema.upstreams import (
    Cost,
    Discovery,
    GonkaUpstream,
    Node,
    OpenAIUpstream,
    Route,
    Timeouts,
    Upstream,
    Wallet,
)


class Root(Section):
    """The whole file."""

    title = "tallygate.toml"
    server = optional(kinds.Table(), "", "The public listener.")
    admin = optional(kinds.Table(), "", "The operator's listener.")
    metrics = optional(kinds.Table(), "", "Figures for Prometheus.")
    store = optional(kinds.Table(), "", "The books.")
    keys = optional(kinds.Table(), "", "The API keys of callers.")
    billing = optional(kinds.Table(), "", "How customers are charged.")
    limits = optional(kinds.Table(), "", "What callers may do, where nothing else is said of them.")
    events = optional(kinds.Table(), "", "What the operator is told of accounts.")
    prices = optional(kinds.Table(), "", "Where prices come from.")
    gnk = optional(kinds.Table(), "", "What a GNK is worth.")
    wallets = optional(kinds.Table(), "", "When what pays the network is low.")
    upstreams = required(kinds.Array("an array of tables, [[upstreams]]", least=1), "The ways to the network.")
    models = optional(kinds.Table(), "", "The models.")


REFERENCE: Final[tuple[type[Section], ...]] = (
    Server,
    Admin,
    Metrics,
    Store,
    Keys,
    Billing,
    Limits,
    KeyLimits,
    AccountLimits,
    Events,
    Prices,
    Gnk,
    Wallets,
    Upstream,
    Route,
    GonkaUpstream,
    Wallet,
    Node,
    Discovery,
    OpenAIUpstream,
    Cost,
    Timeouts,
    Model,
)
"""The sections, in the order in which the reference shows them."""
