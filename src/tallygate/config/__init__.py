"""The operator's configuration: `tallygate.toml` → frozen settings, or all of its problems at once.

    load(path, environ)     reads the file, and the secrets that it refers to
    parse(mapping, …)       the same from a mapping, pure but for what is passed in
    TEMPLATE                the file that `tallygate init` writes

Read `schema` for what can be said, `settings` for what comes out, `parsing` for how one becomes the other.
"""

from tallygate.config.parsing import load, parse
from tallygate.config.settings import (
    AdminSettings,
    BearerAccess,
    BillingSettings,
    ConfigError,
    DiscoverySettings,
    EdgeSettings,
    EventsSettings,
    GonkaAccess,
    KeySettings,
    LimitsSettings,
    MetricsSettings,
    ModelSettings,
    NodeSettings,
    PriceFeedSettings,
    Problem,
    RateSettings,
    RateSourceSettings,
    RetrySettings,
    Secret,
    ServerSettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
    WalletSettings,
    WebhookSettings,
)
from tallygate.config.template import TEMPLATE

__all__ = [
    "TEMPLATE",
    "AdminSettings",
    "BearerAccess",
    "BillingSettings",
    "ConfigError",
    "DiscoverySettings",
    "EdgeSettings",
    "EventsSettings",
    "GonkaAccess",
    "KeySettings",
    "LimitsSettings",
    "MetricsSettings",
    "ModelSettings",
    "NodeSettings",
    "PriceFeedSettings",
    "Problem",
    "RateSettings",
    "RateSourceSettings",
    "RetrySettings",
    "Secret",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "UpstreamSettings",
    "WalletSettings",
    "WebhookSettings",
    "load",
    "parse",
]
