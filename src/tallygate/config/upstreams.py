"""From `[[upstreams]]` to settings: what has to be seen together, such as a kind and its keys, a cost and its unit."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tallygate.config import places
from tallygate.config.kinds import WrongValueError
from tallygate.config.models import check_id
from tallygate.config.schema.upstreams import (
    NGONKA_PER_ATTEMPT_MAX,
    NGONKA_PER_TOKEN_MAX,
    THEIR_MODEL_ID,
    Cost,
    Discovery,
    GonkaUpstream,
    NgonkaCost,
    NoCost,
    Node,
    OpenAIUpstream,
    Route,
    Timeouts,
    Upstream,
    UsdCost,
    Wallet,
)
from tallygate.config.settings import BearerAccess, DiscoverySettings, GonkaAccess, NodeSettings, UpstreamSettings
from tallygate.config.tables import Attempt, BrokenError, Table, take_made
from tallygate.core.money import NGONKA_PER_GNK
from tallygate.core.pricing import UpstreamRate
from tallygate.core.signing import Scheme
from tallygate.network.client import Timeouts as CallTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tallygate.config.keys import Key
    from tallygate.config.lines import KeyPath
    from tallygate.config.secrets import SecretReader
    from tallygate.config.tables import Report
    from tallygate.core.signing import SigningKey
    from tallygate.network.origin import Origin

TOKENS_PER_MILLION: Final = 10**6
ESCROW_RATE: Final = UpstreamRate(1, 1, 1000)
"""What an escrow of the network's gateway program is opened at, as the chain's parameters are shipped."""
_SECTIONS: Final = {"gonka": GonkaUpstream, "openai": OpenAIUpstream}


class Surroundings(NamedTuple):
    """What reading an upstream or a model needs besides its table."""

    report: Report
    secrets: SecretReader
    base_dir: Path
    is_file: Callable[[Path], bool]

    def find_file(self, table: Table, key: Key[Path | None]) -> Path | None:
        """Return where the file is that a key names, if it names one."""
        name = table[key]
        if name is None:
            return None
        path = self.base_dir / name
        if not self.is_file(path):
            raise table.broken(key, f"names {path}, which is no file.", "Correct its name.")
        return path


def read_upstreams(items: Sequence[Any], around: Surroundings) -> tuple[UpstreamSettings, ...]:
    """Return the upstreams that can be made; the problems of the others have been noted."""
    seen: dict[str, int] = {}
    attempts = []
    for index, raw in enumerate(items):
        kind = raw.get("kind") if isinstance(raw, dict) else None
        section = _SECTIONS.get(kind) if isinstance(kind, str) else None
        path = ("upstreams", index)
        # While its kind is not known, no key of either kind can be called wrong.
        table = Table(section or Upstream, raw, path, around.report, is_complete=section is not None)
        attempts.append(Attempt(_read_upstream, table, index, seen, around))
    return take_made(attempts)


def _read_upstream(table: Table, index: int, seen: dict[str, int], around: Surroundings) -> UpstreamSettings:
    # Everything is tried before anything is given up, so that no problem hides another one.
    name = Attempt(_read_name, table, index, seen)
    models = Attempt(_read_model_names, table, around.report)
    routes = Attempt(_read_routes, table, around.report)
    rate = Attempt(_read_rate, table)
    timeouts = Attempt(_read_timeouts, table)
    ca_file = Attempt(around.find_file, table, Upstream.ca_file)
    access = Attempt(_read_access, table, around)
    bills_to_end, flattens = table[Upstream.bills_to_end], table[Upstream.flatten_content]
    program = _program_of(table)
    return UpstreamSettings(
        name=name.take(),
        models=models.take(),
        priority=table[Upstream.priority],
        weight=table[Upstream.weight],
        bills_to_end=table[Upstream.kind] == "gonka" or program != "other" if bills_to_end is None else bills_to_end,
        tokens_floor=table[Upstream.max_tokens_floor],
        rate=rate.take(),
        timeouts=timeouts.take(),
        ca_file=ca_file.take(),
        access=access.take(),
        flattens=table[Upstream.kind] == "gonka" if flattens is None else flattens,
        routes=routes.take(),
        program=program,
        tells_prices=table[Upstream.tells_prices],
    )


def _program_of(table: Table) -> Literal["other", "devshardctl", "openbroker"]:
    return table[OpenAIUpstream.program] if table[Upstream.kind] == "openai" else "other"


def _read_name(table: Table, index: int, seen: dict[str, int]) -> str:
    name = table[Upstream.name]
    if seen.setdefault(name, index) != index:
        complaint = f"is the name of upstreams[{seen[name]}], too."
        raise table.broken(Upstream.name, complaint, "Give each upstream a name of its own.")
    return name


def _read_model_names(table: Table, report: Report) -> Mapping[str, str] | None:
    names = table[Upstream.models]
    if names is None:
        return None
    _check_ids(table, Upstream.models, names, report)
    for ours, theirs in names.items():
        try:
            THEIR_MODEL_ID.read(theirs)
        except WrongValueError as error:
            report.add(table.at(Upstream.models, ours), error.complaint, error.remedy)
    return MappingProxyType(dict(names))


def _check_ids(table: Table, key: Key[Any], names: Iterable[str], report: Report) -> None:
    """Note what is wrong with our ids of models as the keys of a table."""
    seen: set[str] = set()
    for name in names:
        check_id(name, table.at(key, name), report)
        if name.lower() in seen:
            report.add(
                table.at(key, name), "is there twice: ids are matched without regard to case.", "Remove one of the two."
            )
        seen.add(name.lower())


def _read_routes(table: Table, report: Report) -> Mapping[str, tuple[int, int]]:
    routes = {}
    names = table[Upstream.routes] or {}
    _check_ids(table, Upstream.routes, names, report)
    for ours in names:
        route = table.item(Route, Upstream.routes, ours)
        priority, weight = route[Route.priority], route[Route.weight]
        routes[str(ours).lower()] = (
            table[Upstream.priority] if priority is None else priority,
            table[Upstream.weight] if weight is None else weight,
        )
    return MappingProxyType(routes)


def _read_timeouts(table: Table) -> CallTimeouts:
    timeouts = table.item(Timeouts, Upstream.timeouts)
    return CallTimeouts(
        connect_s=timeouts[Timeouts.connect_s],
        first_byte_s=timeouts[Timeouts.first_byte_s],
        idle_s=timeouts[Timeouts.idle_s],
        total_s=timeouts[Timeouts.total_s],
    )


# --- What it bills ---


def _read_rate(table: Table) -> UpstreamRate:
    is_networks = table[Upstream.kind] == "gonka" or _program_of(table) != "other"
    if table[Upstream.kind] != "gonka" and is_networks and not table.has(Upstream.cost):
        return ESCROW_RATE
    raw = table[Upstream.cost] or {}
    unit = raw.get("unit", "ngonka" if is_networks else "none")
    if not isinstance(unit, str) or unit not in _UNITS:
        table.item(Cost, Upstream.cost)
        raise BrokenError
    return _UNITS[unit](table)


def _read_ngonka_rate(table: Table) -> UpstreamRate:
    cost = table.item(NgonkaCost, Upstream.cost)
    return UpstreamRate(cost[NgonkaCost.input], cost[NgonkaCost.output], cost[NgonkaCost.per_attempt])


def _read_usd_rate(table: Table) -> UpstreamRate:
    """Return dollars as ngonka, rounded up: a cost is rather overstated than lost."""
    cost = table.item(UsdCost, Upstream.cost)
    picousd_per_gnk = cost[UsdCost.usd_per_gnk]
    if picousd_per_gnk == 0:
        raise table.broken(Upstream.cost, "says that a GNK costs nothing.", "Write what 1 GNK costs: usd_per_gnk.")
    rate = UpstreamRate(
        _ceiling(cost[UsdCost.input] * NGONKA_PER_GNK, picousd_per_gnk * TOKENS_PER_MILLION),
        _ceiling(cost[UsdCost.output] * NGONKA_PER_GNK, picousd_per_gnk * TOKENS_PER_MILLION),
        _ceiling(cost[UsdCost.per_attempt] * NGONKA_PER_GNK, picousd_per_gnk),
    )
    per_token = max(rate.input_ngonka, rate.output_ngonka)
    if per_token > NGONKA_PER_TOKEN_MAX or rate.attempt_ngonka > NGONKA_PER_ATTEMPT_MAX:
        complaint = "is more than 1 GNK per token, or a million GNK per attempt."
        raise table.broken(Upstream.cost, complaint, "Check the prices and usd_per_gnk.")
    return rate


def _read_no_rate(table: Table) -> UpstreamRate:
    table.item(NoCost, Upstream.cost)
    return UpstreamRate(0, 0, 0)


_UNITS: Final[Mapping[str, Callable[[Table], UpstreamRate]]] = {
    "ngonka": _read_ngonka_rate,
    "usd": _read_usd_rate,
    "none": _read_no_rate,
}


def _ceiling(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


# --- How it is reached ---


def _read_access(table: Table, around: Surroundings) -> GonkaAccess | BearerAccess:
    return _read_gonka_access(table, around) if table[Upstream.kind] == "gonka" else _read_bearer_access(table, around)


def _read_bearer_access(table: Table, around: Surroundings) -> BearerAccess:
    keys = OpenAIUpstream
    api_key = Attempt(around.secrets.read_bearer_key, table, keys.api_key_env, keys.api_key_file)
    url = table[keys.base_url]
    return BearerAccess(url.origin, url.path, api_key.take())


def _read_gonka_access(table: Table, around: Surroundings) -> GonkaAccess:
    wallets = Attempt(_read_wallets, table, around.secrets)
    nodes = Attempt(_read_nodes, table)
    discovery = Attempt(_read_discovery, table, around.report)
    if table.has(GonkaUpstream.nodes) == table.has(GonkaUpstream.discovery):
        complaint = "needs nodes or discovery, and one of the two only."
        raise table.broken(None, complaint, "Write the nodes, or where to ask for them.")
    scheme = table[GonkaUpstream.scheme]
    return GonkaAccess(wallets.take(), None if scheme == "auto" else Scheme(scheme), nodes.take(), discovery.take())


def _read_discovery(table: Table, report: Report) -> DiscoverySettings | None:
    if not table.has(GonkaUpstream.discovery):
        return None
    discovery = table.item(Discovery, GonkaUpstream.discovery)
    urls: Sequence[Any] = discovery[Discovery.sources]
    attempts = [
        Attempt(_read_source, raw, discovery.at(Discovery.sources, index), report) for index, raw in enumerate(urls)
    ]
    return DiscoverySettings(tuple(attempt.take() for attempt in attempts), discovery[Discovery.refresh_s])


def _read_source(raw: object, path: KeyPath, report: Report) -> tuple[Origin, bytes]:
    try:
        url = places.Url().read(raw)
    except WrongValueError as error:
        report.add(path, error.complaint, error.remedy)
    else:
        return url.origin, url.path.removesuffix(b"/v1")
    raise BrokenError


def _read_wallets(table: Table, secrets: SecretReader) -> tuple[SigningKey, ...]:
    count = len(table[GonkaUpstream.wallets])
    wallets = [table.item(Wallet, GonkaUpstream.wallets, index) for index in range(count)]
    attempts = [Attempt(_read_wallet, wallet, secrets) for wallet in wallets]
    return tuple(attempt.take() for attempt in attempts)


def _read_wallet(wallet: Table, secrets: SecretReader) -> SigningKey:
    if not wallet.has(Wallet.keystore_file):
        if wallet.has(Wallet.passphrase_env):
            remedy = f"Write {Wallet.keystore_file.name} beside it."
            raise wallet.broken(Wallet.passphrase_env, "opens nothing.", remedy)
        return secrets.read_wallet(wallet, Wallet.key_env, Wallet.key_file)
    for other in (Wallet.key_env, Wallet.key_file):
        if wallet.has(other):
            complaint = f"stands beside {Wallet.keystore_file.name}, and only one can count."
            raise wallet.broken(other, complaint, "Remove one of the two.")
    return secrets.read_keystore(wallet, Wallet.keystore_file, Wallet.passphrase_env)


def _read_nodes(table: Table) -> tuple[NodeSettings, ...]:
    seen: dict[object, int] = {}
    count = len(table[GonkaUpstream.nodes] or ())
    nodes = [table.item(Node, GonkaUpstream.nodes, index) for index in range(count)]
    attempts = [Attempt(_read_node, node, index, seen) for index, node in enumerate(nodes)]
    return tuple(attempt.take() for attempt in attempts)


def _read_node(table: Table, index: int, seen: dict[object, int]) -> NodeSettings:
    url, origin, path = table[Node.url]
    node = NodeSettings(url, origin, path.removesuffix(b"/v1"), table[Node.address])
    first = seen.setdefault((node.origin, node.base_path, node.address), index)
    if first != index:
        raise table.broken(None, f"is the same node as nodes[{first}].", "Remove one of the two.")
    return node
