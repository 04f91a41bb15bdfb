"""The configuration: what a right file comes to."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tallygate.config import (
    BearerAccess,
    ConfigError,
    EventsSettings,
    GonkaAccess,
    KeySettings,
    Problem,
    Settings,
    load,
    parse,
)
from tallygate.config.lines import LineFinder
from tallygate.core.bounding import ModelCard
from tallygate.core.openai import STRICT, Policy
from tallygate.core.pricing import Price, UpstreamRate
from tallygate.core.signing import Scheme, SigningKey
from tallygate.network.client import Timeouts
from tallygate.network.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

WALLET = "7f" * 32
OTHER_WALLET = "0x" + "3c" * 32
ADMIN_KEY = "an-admin-key-of-24-chars"
API_KEY = "obk-4f1a9c77e02b"
ENVIRON = {"TALLYGATE_ADMIN_KEY": ADMIN_KEY, "API_KEY": API_KEY, "WALLET": WALLET, "OTHER_WALLET": OTHER_WALLET}
NODE = SigningKey.from_hex("11" * 32).address
OTHER_NODE = SigningKey.from_hex("22" * 32).address

OPENAI = """\
[[upstreams]]
name = "broker"
kind = "openai"
base_url = "https://broker.example/v1"
"""
GONKA = f"""\
[[upstreams]]
name = "nodes"
kind = "gonka"
wallets = [{{key_env = "WALLET"}}]
nodes = [{{url = "http://node.example:8000", address = "{NODE}"}}]
"""


def no_file(path: Path) -> str:
    """Stand for a machine without any file."""
    raise FileNotFoundError(path)


def settings_of(text: str, environ: Mapping[str, str] = ENVIRON, base_dir: str = "/etc/tallygate") -> Settings:
    """Return what a configuration comes to."""
    return parse(
        tomllib.loads(text, parse_float=Decimal),
        environ=environ,
        read_secret_file=no_file,
        lines=LineFinder(text),
        base_dir=Path(base_dir),
    )


def problems_of(text: str, environ: Mapping[str, str] = ENVIRON) -> tuple[Problem, ...]:
    """Return everything that is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        settings_of(text, environ)
    return caught.value.problems


def test_the_smallest_configuration_has_every_default() -> None:
    """One upstream is enough, and everything else has the default that the reference states."""
    settings = settings_of(OPENAI)

    server = settings.server
    assert (server.host, server.port) == ("127.0.0.1", 8080)
    assert (server.keep_alive_s, server.calls_max, server.drain_s, server.left_drain_s) == (15.0, 5000, 30.0, 30.0)
    assert (server.header_timeout_s, server.body_timeout_s) == (10.0, 60.0)
    assert (server.default_temperature, server.log_level) == (0.7, "info")
    assert not server.public_models
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 8081)
    assert settings.store.path == Path("/etc/tallygate/data/tallygate.db")
    assert settings.store.pepper_file == Path("/etc/tallygate/data/tallygate.pepper")
    assert (settings.store.hold_durability, settings.store.after_crash) == ("wait", "void")
    assert settings.keys == KeySettings(prefix="tg-", calls_under_way="finish")
    billing = settings.billing
    assert (billing.fee_ppm, billing.insufficient_balance_status, billing.short_balance) == (100_000, 402, "refuse")
    assert settings.events == EventsSettings(low_balance_picousd=None, webhook=None)
    assert settings.models == ()
    (upstream,) = settings.upstreams
    assert (upstream.models, upstream.priority, upstream.weight, upstream.tokens_floor) == (None, 0, 1, 1)
    assert upstream.timeouts == Timeouts(5, 300, 120, 1800)
    assert upstream.ca_file is None


def test_durations_are_floats() -> None:
    """A time is a float, however it is written: event loops add them to their clock."""
    server = settings_of(
        "[server]\nkeep_alive_s = 2\ndrain_s = 0\nleft_drain_s = 0\nheader_timeout_s = 0.5\n" + OPENAI
    ).server

    assert [server.keep_alive_s, server.drain_s, server.left_drain_s, server.header_timeout_s] == [2.0, 0.0, 0.0, 0.5]
    assert {float} == {type(server.keep_alive_s), type(server.drain_s), type(server.header_timeout_s)}


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8443", ("::1", 8443)),
        ("localhost:0", ("localhost", 0)),
        ("tallygate_1.internal:65535", ("tallygate_1.internal", 65535)),
    ],
)
def test_an_address_to_listen_on_has_a_host_and_a_port(listen: str, expected: tuple[str, int]) -> None:
    """A listener is a host, an IPv6 one in brackets, and a port, of which 0 means any."""
    server = settings_of(f'[server]\nlisten = "{listen}"\n{OPENAI}').server

    assert expected == (server.host, server.port)


def test_a_temperature_can_be_left_out() -> None:
    """The word `none` stands for no default temperature."""
    assert settings_of('[server]\ndefault_temperature = "none"\n' + OPENAI).server.default_temperature is None


def test_two_listeners_may_both_take_any_port() -> None:
    """Port 0 is a different port each time, so both listeners may ask for it."""
    both = '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'

    assert settings_of(both + OPENAI).admin.port == 0


def test_files_are_relative_to_the_folder_of_the_configuration() -> None:
    """A relative name counts from the configuration's folder, an absolute one stands for itself."""
    store = settings_of('[store]\nurl = "sqlite:/var/books.db"\npepper_file = "secrets/pepper"\n' + OPENAI).store

    assert (Path("/var/books.db"), Path("/etc/tallygate/secrets/pepper")) == (store.path, store.pepper_file)


def test_a_bearer_upstream_keeps_its_path() -> None:
    """The base URL of a Bearer upstream is used as it is given."""
    access = settings_of(OPENAI + 'api_key_env = "API_KEY"\n').upstreams[0].access

    assert isinstance(access, BearerAccess)
    assert (Origin("https", "broker.example", 443), b"/v1") == (access.origin, access.base_path)
    assert access.api_key is not None
    assert access.api_key.reveal() == API_KEY


def test_an_engine_without_a_key_needs_none() -> None:
    """A Bearer upstream may do without a key."""
    access = settings_of(OPENAI).upstreams[0].access

    assert isinstance(access, BearerAccess)
    assert access.api_key is None


@pytest.mark.parametrize(
    ("url", "base_path"),
    [
        ("http://node.example:8000", b""),
        ("http://node.example:8000/", b""),
        ("http://node.example:8000/v1", b""),
        ("http://node.example:8000/v1/", b""),
        ("http://node.example:8000/api/v1", b"/api"),
        ("http://node.example:8000/api", b"/api"),
    ],
)
def test_the_url_of_a_node_may_end_in_v1(url: str, base_path: bytes) -> None:
    """A node's base path is without `/v1`, whether or not its URL has it."""
    access = settings_of(GONKA.replace("http://node.example:8000", url)).upstreams[0].access

    assert isinstance(access, GonkaAccess)
    assert (url, base_path) == (access.nodes[0].url, access.nodes[0].base_path)


def test_a_gonka_upstream_has_several_wallets_and_nodes() -> None:
    """Wallets and nodes are lists, and keep the order of the file."""
    text = f"""\
[[upstreams]]
name = "nodes"
kind = "gonka"
scheme = "raw"
wallets = [{{key_env = "WALLET"}}, {{key_env = "OTHER_WALLET"}}]
nodes = [
  {{url = "http://a.example:8000", address = "{NODE}"}},
  {{url = "http://a.example:8000", address = "{OTHER_NODE}"}},
]
"""
    access = settings_of(text).upstreams[0].access

    assert isinstance(access, GonkaAccess)
    keys = [SigningKey.from_hex(WALLET), SigningKey.from_hex(OTHER_WALLET)]
    assert [key.address for key in keys] == [wallet.address for wallet in access.wallets]
    assert [node.address for node in access.nodes] == [NODE, OTHER_NODE]
    assert access.scheme is Scheme.RAW


def test_who_bills_to_the_end_follows_the_kind_unless_it_is_said() -> None:
    """Nodes bill to the end and Bearer upstreams do not, and the file has the last word."""
    text = GONKA + OPENAI + OPENAI.replace("broker", "third") + "bills_to_end = true\n"

    assert [upstream.bills_to_end for upstream in settings_of(text).upstreams] == [True, False, True]


def test_who_gets_flat_content_follows_the_kind_unless_it_is_said() -> None:
    """Nodes get text parts as one text and Bearer upstreams as they came, and the file has the last word."""
    said = OPENAI.replace("broker", "third") + "flatten_content = true\n"
    unsaid = GONKA.replace('"nodes"', '"more"') + "flatten_content = false\n"
    upstreams = settings_of(GONKA + OPENAI + said + unsaid).upstreams

    assert [upstream.flattens for upstream in upstreams] == [True, False, True, False]


def test_odd_parameters() -> None:
    """What happens to them is refused, passed, left out or mended, as the file says; as shipped they are refused."""
    assert settings_of(OPENAI).server.parameters == Policy("refuse", repairs=False) == STRICT
    text = '[server]\nunknown_parameters = "strip"\nrepair = true\n'
    assert settings_of(text + OPENAI).server.parameters == Policy("strip", repairs=True)


def test_features() -> None:
    """A model has the usual features unless its own are listed, and then those and no others."""
    cards = [settings_of(f"[models.m]\n{line}\n" + OPENAI).models[0].card for line in ("", "features = []")]
    assert [card.features for card in cards] == [("tools", "json_mode", "structured_outputs"), ()]
    listed = settings_of('[models.m]\nfeatures = ["thinking", "mine"]\n' + OPENAI).models[0].card
    assert listed.features == ("thinking", "mine")


@pytest.mark.parametrize(
    ("upstream", "cost", "expected"),
    [
        (GONKA, "", UpstreamRate(1, 1, 0)),
        (OPENAI, "", UpstreamRate(0, 0, 0)),
        (GONKA, "{per_attempt = 1000}", UpstreamRate(1, 1, 1000)),
        (GONKA, '{unit = "none"}', UpstreamRate(0, 0, 0)),
        (OPENAI, '{unit = "ngonka"}', UpstreamRate(1, 1, 0)),
        (OPENAI, '{unit = "ngonka", input = 2, output = 3, per_attempt = 4}', UpstreamRate(2, 3, 4)),
        # $0.62 per GNK: $0.00062 per million tokens is 1 ngonka per token, exactly.
        (OPENAI, '{unit = "usd", input = "0.00062", output = "0.00124", usd_per_gnk = "0.62"}', UpstreamRate(1, 2, 0)),
        # The finest amount above that costs one ngonka more: rounded up.
        (
            OPENAI,
            '{unit = "usd", input = "0.000620000001", output = 0, per_attempt = "0.000000000001", usd_per_gnk = 0.62}',
            UpstreamRate(2, 0, 1),
        ),
        # A third of a dollar per token, and a price that no double can hold.
        (OPENAI, '{unit = "usd", input = 1, output = 0.1, usd_per_gnk = 3}', UpstreamRate(334, 34, 0)),
        (OPENAI, '{unit = "usd", input = 1e0, output = 2.5E-1, usd_per_gnk = "1"}', UpstreamRate(1000, 250, 0)),
    ],
)
def test_what_an_upstream_bills_is_kept_in_ngonka(upstream: str, cost: str, expected: UpstreamRate) -> None:
    """Costs in dollars become ngonka at the given price of a GNK, exactly, and rounded up."""
    text = upstream + (f"cost = {cost}\n" if cost else "")

    assert expected == settings_of(text).upstreams[0].rate


def test_an_upstream_maps_models() -> None:
    """A table of models maps our ids to theirs, and `*` stands for all."""
    text = OPENAI + 'models = {"our/model" = "Their-Model"}\n' + GONKA + 'models = "*"\n'

    assert [upstream.models for upstream in settings_of(text).upstreams] == [{"our/model": "Their-Model"}, None]


def test_a_model_without_limits_has_the_defaults() -> None:
    """An empty table is a model with every default, and without a price."""
    (model,) = settings_of('[models."a/b"]\n' + OPENAI).models

    assert (ModelCard(id="a/b"), None) == (model.card, model.price)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("max_output_tokens = 100", (100, 100)),
        ("max_output_tokens = 100_000", (100_000, 4096)),
        ("context_length = 2000", (2000, 2000)),
        ("context_length = 200_000", (4096, 4096)),
        ("context_length = 200\nmax_output_tokens = 150\ndefault_max_tokens = 100", (150, 100)),
    ],
)
def test_limits_that_are_not_given_follow_those_that_are(limits: str, expected: tuple[int, int]) -> None:
    """A default limit is never above one that is given."""
    (model,) = settings_of(f"[models.m]\n{limits}\n{OPENAI}").models

    assert expected == (model.card.output_tokens_max, model.card.output_tokens_default)


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ("", None),
        ("free = false", None),
        ("free = true", Price(0, 0, free=True)),
        ('input_usd_per_1m = "0.35"\noutput_usd_per_1m = "0.000001"', Price(350_000, 1)),
        ("input_usd_per_1m = 0.35\noutput_usd_per_1m = 0.1", Price(350_000, 100_000)),
        ("input_usd_per_1m = 1\noutput_usd_per_1m = 1e3", Price(10**6, 10**9)),
        ("input_usd_per_1m = 0\noutput_usd_per_1m = 1e-6", Price(0, 1)),
        ('usd_per_call = "0.000000000001"', Price(0, 0, 1)),
        ("input_usd_per_1m = 1\noutput_usd_per_1m = 1\nusd_per_call = 0.25", Price(10**6, 10**6, 25 * 10**10)),
    ],
)
def test_prices_are_exact(prices: str, expected: Price | None) -> None:
    """A price is taken as it is written, as a text or as a number."""
    (model,) = settings_of(f"[models.m]\n{prices}\n{OPENAI}").models

    assert expected == model.price


def test_settings_cannot_be_changed() -> None:
    """Settings are frozen, the map of models included."""
    settings = settings_of(OPENAI + 'models = {"a" = "b"}\n')

    with pytest.raises(AttributeError):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.upstreams[0].models["c"] = "d"  # type: ignore[index]


def test_a_file_is_read_with_its_secrets(tmp_path: Path) -> None:
    """`load` reads the file, and what it refers to beside it."""
    (tmp_path / "key").write_text(f"{API_KEY}\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "ca.pem").write_text("certificates")
    path = tmp_path / "tallygate.toml"
    path.write_text(OPENAI + 'api_key_file = "key"\nca_file = "ca.pem"\n')

    settings = load(path, {})

    (upstream,) = settings.upstreams
    assert isinstance(upstream.access, BearerAccess)
    assert upstream.access.api_key is not None
    assert upstream.access.api_key.reveal() == API_KEY
    assert (tmp_path / "ca.pem", tmp_path / "data/tallygate.db") == (upstream.ca_file, settings.store.path)
    assert settings.admin.key is None
