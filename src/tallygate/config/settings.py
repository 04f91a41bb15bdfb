"""What the configuration says, checked: frozen records that the rest of the program reads.

What may live here: the records, the wrapper of a secret, and the error that carries every problem. What may not:
reading, checking, defaults, the environment.

Invariant: neither `repr` nor `str` of anything here shows a secret.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, final

from tallygate.core.limits import UNLIMITED
from tallygate.core.openai import STRICT
from tallygate.core.wallets import WalletFloors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from tallygate.core.bounding import ModelCard
    from tallygate.core.limits import Limits
    from tallygate.core.openai import Policy
    from tallygate.core.pricing import Price, UpstreamRate
    from tallygate.core.repricing import PriceBounds, RateBounds
    from tallygate.core.signing import Scheme, SigningKey
    from tallygate.network.client import Timeouts
    from tallygate.network.origin import Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    Attributes:
        path: Where, such as `upstreams[0].nodes[1].address`; empty when it concerns the whole file.
        line: The line of the file, or of the nearest table around it; None where there is none.
        message: What is wrong: a sentence that names the path, and never holds a secret.
        remedy: What to do about it.
    """

    path: str
    line: int | None
    message: str
    remedy: str

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.message} {self.remedy}"


class ConfigError(Exception):
    """A configuration cannot be used; carries all of its problems, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


@final
class Secret:
    """A text that is shown to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._text.encode(errors="surrogatepass"), other._text.encode(errors="surrogatepass")
        )

    __hash__ = None  # type: ignore[assignment]  # a hash table compares in its own time

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What callers may do before anybody asks who they are. A limit of None is none.

    Attributes:
        failed_keys_per_second: How many bad keys are answered each second in all.
        cors_origins: The web pages that may call; `*` alone for all.
        trusted_proxies: Whose word is taken for where a call comes from.
        forwarded_header: Where they say it.
    """

    requests_per_minute_per_address: int | None = None
    failed_keys_per_minute_per_address: int | None = None
    failed_keys_per_second: int = 500
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    cors_origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How many retries there may be: so many for 100 calls, and so many each second besides."""

    percent: int = 20
    per_s: int = 10


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The public listener. `default_temperature` is None where none is sent."""

    host: str
    port: int
    keep_alive_s: float
    calls_max: int
    drain_s: float
    left_drain_s: float
    public_models: bool
    header_timeout_s: float
    body_timeout_s: float
    default_temperature: float | None
    log_level: Literal["debug", "info", "warning", "error"]
    parameters: Policy = STRICT
    edge: EdgeSettings = EdgeSettings()
    retries: RetrySettings = RetrySettings()


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The operator's listener. Without a key, every admin call is refused."""

    host: str
    port: int
    key: Secret | None


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where figures are shown, and what opens them beside the admin key."""

    listener: Literal["admin", "public", "off"]
    key: Secret | None


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the books are, and what they promise."""

    path: Path
    pepper_file: Path
    checkpoint_key_file: Path
    anchors_file: Path
    hold_durability: Literal["wait", "async"]
    after_crash: Literal["void", "charge_prompt"]


@dataclass(frozen=True, slots=True)
class KeySettings:
    """How API keys look, and what the end of one does to its calls."""

    prefix: str
    calls_under_way: Literal["finish", "cut"]


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """How customers are charged."""

    fee_ppm: int
    insufficient_balance_status: Literal[402, 429]
    short_balance: Literal["refuse", "shrink"]


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """What holds for API keys, and for accounts, that have no such limit of their own."""

    of_keys: Limits = UNLIMITED
    of_accounts: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where events are sent. `key`, what they are signed with, is None where no way out is read."""

    url: str
    origin: Origin
    path: bytes
    key: Secret | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """What the operator is told of accounts. `low_balance_picousd` is None where none is told to be low."""

    low_balance_picousd: int | None
    webhook: WebhookSettings | None


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One Gonka node. `base_path` is without the `/v1` that `url` may end in."""

    url: str
    origin: Origin
    base_path: bytes
    address: str


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """How nodes are discovered: whom to ask, as origins and paths without `/v1`, and how often."""

    sources: tuple[tuple[Origin, bytes], ...]
    refresh_s: float


@dataclass(frozen=True, slots=True)
class GonkaAccess:
    """Access by signature, with the operator's wallets. `scheme` is None where each node shows what it takes.

    Nodes are either configured or discovered.
    """

    wallets: tuple[SigningKey, ...]
    scheme: Scheme | None
    nodes: tuple[NodeSettings, ...]
    discovery: DiscoverySettings | None = None

    @property
    def tellers(self) -> tuple[tuple[Origin, bytes], ...]:
        """Who tells what the chain says: the sources of discovery, else the nodes, without `/v1`."""
        if self.discovery is not None:
            return self.discovery.sources
        return tuple((node.origin, node.base_path) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class BearerAccess:
    """Access by Bearer key; `base_path` is as given, usually ending in `/v1`. Some engines need no key."""

    origin: Origin
    base_path: bytes
    api_key: Secret | None

    @property
    def authorization(self) -> bytes:
        """The header line that shows the key; empty where none is needed."""
        return b"" if self.api_key is None else f"Authorization: Bearer {self.api_key.reveal()}\r\n".encode()


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One way to reach the network. `models` maps our ids to its own; None takes every id as it is.

    `routes` has the priority and the weight of those of our ids, in lower case, that have others than the rest.
    """

    name: str
    models: Mapping[str, str] | None
    priority: int
    weight: int
    bills_to_end: bool
    tokens_floor: int
    rate: UpstreamRate
    timeouts: Timeouts
    ca_file: Path | None
    access: GonkaAccess | BearerAccess
    flattens: bool = False
    routes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    program: Literal["other", "devshardctl", "openbroker"] = "other"
    tells_prices: bool = True


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model. Without a price here, `tallygate prices set` gives it one."""

    card: ModelCard
    price: Price | None
    tokenizer_file: Path | None = None


@dataclass(frozen=True, slots=True)
class RateSourceSettings:
    """Where the dollars of a GNK are read, and what is believed of it."""

    origin: Origin
    path: bytes
    pointer: str
    time_pointer: str | None
    bounds: RateBounds
    interval_s: float
    stale_s: float


@dataclass(frozen=True, slots=True)
class RateSettings:
    """What a GNK is worth: fixed, or read; where neither is said, nothing in ngonka is priced."""

    picousd: int | None
    source: RateSourceSettings | None


@dataclass(frozen=True, slots=True)
class PriceFeedSettings:
    """How upstreams' prices are taken."""

    takes_listed: bool
    markup_ppm: int
    interval_s: float
    stale_s: float
    bounds: PriceBounds
    rate: RateSettings


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """How often wallets are looked at, and below what they are low."""

    interval_s: float = 60.0
    floors: WalletFloors = WalletFloors(0, 0)  # noqa: RUF009  (immutable)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    Attributes:
        secret_env_names: The environment variables that hold secrets, to be removed once they have been read.
    """

    server: ServerSettings
    admin: AdminSettings
    metrics: MetricsSettings
    store: StoreSettings
    keys: KeySettings
    billing: BillingSettings
    limits: LimitsSettings
    events: EventsSettings
    upstreams: tuple[UpstreamSettings, ...]
    models: tuple[ModelSettings, ...]
    secret_env_names: frozenset[str]
    prices: PriceFeedSettings | None = None
    wallets: WalletSettings = WalletSettings()
