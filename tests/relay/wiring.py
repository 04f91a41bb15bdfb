"""The settings of a small gateway, made by hand: what a configuration file would have said, and its clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tallygate.config import (
    AdminSettings,
    BearerAccess,
    BillingSettings,
    EventsSettings,
    GonkaAccess,
    KeySettings,
    LimitsSettings,
    MetricsSettings,
    ModelSettings,
    NodeSettings,
    Secret,
    ServerSettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
)
from tallygate.core.openai import STRICT
from tallygate.core.pricing import UpstreamRate
from tallygate.network.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.bounding import ModelCard
    from tallygate.core.openai import Policy
    from tallygate.core.pricing import Price
    from tallygate.core.signing import Scheme, SigningKey
    from tallygate.devnet import Devnet
    from tallygate.network.client import Timeouts

ADMIN_KEY = "an-admin-key-of-a-test"
METRICS_KEY = "a-metrics-key-of-a-test"


def stand_still() -> float:
    """Return the same time, always.

    What a node or a caller has to wait for is over when a test says so: if a slow machine takes seconds for the rest of
    a test, no node is back and no minute has begun meanwhile.
    """
    return 1000.0


def settings(
    upstreams: Sequence[UpstreamSettings],
    card: ModelCard,
    price: Price,
    *,
    fee_ppm: int,
    keep_alive_s: float = 30.0,
    left_drain_s: float = 30.0,
    tokenizer_file: Path | None = None,
    short_balance: Literal["refuse", "shrink"] = "refuse",
    calls_under_way: Literal["finish", "cut"] = "finish",
    metrics: Literal["admin", "public", "off"] = "admin",
    parameters: Policy = STRICT,
    limits: LimitsSettings = LimitsSettings(),  # noqa: B008  (an immutable constant)
) -> Settings:
    """Return the settings of a gateway with one model."""
    nowhere = Path("/nonexistent")
    return Settings(
        server=ServerSettings(
            host="127.0.0.1",
            port=0,
            keep_alive_s=keep_alive_s,
            calls_max=5000,
            drain_s=30.0,
            left_drain_s=left_drain_s,
            public_models=False,
            header_timeout_s=30.0,
            body_timeout_s=30.0,
            default_temperature=0.7,
            log_level="error",
            parameters=parameters,
        ),
        admin=AdminSettings(host="127.0.0.1", port=0, key=Secret(ADMIN_KEY)),
        metrics=MetricsSettings(metrics, Secret(METRICS_KEY)),
        store=StoreSettings(
            path=nowhere,
            pepper_file=nowhere,
            checkpoint_key_file=nowhere,
            anchors_file=nowhere,
            hold_durability="wait",
            after_crash="void",
        ),
        keys=KeySettings(prefix="tg-", calls_under_way=calls_under_way),
        billing=BillingSettings(fee_ppm=fee_ppm, insufficient_balance_status=402, short_balance=short_balance),
        limits=limits,
        events=EventsSettings(low_balance_picousd=None, webhook=None),
        upstreams=tuple(upstreams),
        models=(ModelSettings(card, price, tokenizer_file),),
        secret_env_names=frozenset(),
    )


def gonka(devnet: Devnet, wallet: SigningKey, timeouts: Timeouts, *, priority: int, scheme: Scheme) -> UpstreamSettings:
    """Return an upstream of all the nodes of a devnet."""
    nodes = []
    for node in devnet.nodes:
        origin, base_path = Origin.parse(node.url)
        nodes.append(NodeSettings(node.url, origin, base_path, node.address))
    return _upstream("signed", timeouts, priority, GonkaAccess((wallet,), scheme, tuple(nodes)), bills_to_end=True)


def bearer(url: str, key: str, timeouts: Timeouts, *, priority: int, bills_to_end: bool = False) -> UpstreamSettings:
    """Return an upstream behind a Bearer key."""
    origin, base_path = Origin.parse(url)
    access = BearerAccess(origin, base_path, Secret(key))
    return _upstream("bearer", timeouts, priority, access, bills_to_end=bills_to_end)


def _upstream(
    name: str, timeouts: Timeouts, priority: int, access: GonkaAccess | BearerAccess, *, bills_to_end: bool
) -> UpstreamSettings:
    return UpstreamSettings(
        name=name,
        models=None,
        priority=priority,
        weight=1,
        bills_to_end=bills_to_end,
        tokens_floor=1,
        rate=UpstreamRate(1, 1, 0),
        timeouts=timeouts,
        ca_file=None,
        access=access,
        flattens=isinstance(access, GonkaAccess),
    )
