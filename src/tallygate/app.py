"""The composition root: from settings to a running gateway.

Read it from the top: what is built on an open store (`build`), how it runs and ends (`serve`). Its other parts are
`opening`, `reaching`, `feeds` and `front`; beside the command line, they alone name concrete adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.alarms import AlarmingMeter
from tallygate.api.admin import AdminApi
from tallygate.api.balance import BalanceApi
from tallygate.api.callers import Callers
from tallygate.api.counting import CountingRouter
from tallygate.api.estimate import EstimateApi
from tallygate.api.identity import IdentityApi
from tallygate.api.metrics import MetricsApi
from tallygate.api.models import ModelApi
from tallygate.api.pricing import PricingApi
from tallygate.api.problems import Problems
from tallygate.api.proofs import ProofApi
from tallygate.api.public import PublicApi
from tallygate.api.usage import UsageAnswers, UsageApi
from tallygate.core import ids
from tallygate.core.catalog import Catalog
from tallygate.core.errors import StoreUnavailableError
from tallygate.core.idempotency import Digests
from tallygate.core.ledger.reconciliation import Attempts
from tallygate.core.pricing import reconciled
from tallygate.core.tags import Tags
from tallygate.entropy import EntropyPool
from tallygate.feeds import Feeds, build_feeds
from tallygate.front import (
    build_admin_edge,
    build_admin_server,
    build_public_edge,
    build_public_server,
    describe_admin,
    describe_public,
)
from tallygate.metrics import Metrics, Watched
from tallygate.network.webhook import deliver_events
from tallygate.opening import open_books, open_proofs
from tallygate.reaching import build_upstreams, open_for_questions, watch_networks
from tallygate.relay import Relay
from tallygate.relay.guard import KeyGuard
from tallygate.relay.inquiry import reconcile
from tallygate.relay.limiter import EmbeddedLimiter
from tallygate.running import listen_for_stop, running, settle_interpreter
from tallygate.storage.keeping.history import read_sendings
from tallygate.storage.past.embedded import EmbeddedHistory
from tallygate.storage.past.sqlite_past import SqlitePast
from tallygate.tokenizerfile import FileTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.admin.alarms import Lookout
    from tallygate.api.edge import Edge
    from tallygate.api.http import Route
    from tallygate.api.server import HttpServer
    from tallygate.config import Settings
    from tallygate.core.ledger.reconciliation import Attempt, Reconciliation
    from tallygate.network.pool import UpstreamPool
    from tallygate.storage.embedded import EmbeddedLedger
    from tallygate.storage.proofs.embedded import EmbeddedProofs

SWEEP_S: Final = 60.0
"""How often holds without an owner are looked for. There should be none: it is a net under defects of ours."""

CUT_S: Final = 5.0
"""How long a call that was cut may take to be settled and told; a commit takes milliseconds."""

LOOK_EVERY_S: Final = 1.0
"""How often keys are looked for that have expired while a call of theirs is under way: so late a call can end."""

NODES_SUFFIX: Final = ".nodes"
"""Of the file beside the store that keeps which nodes were discovered last."""

FORGET_EVERY_S: Final = 600.0
"""How often is forgotten what is kept for a day: idempotency keys, and the answers under them."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Machine:
    """What a gateway takes from the machine that it runs on, beside sockets and files.

    Attributes:
        now_ns: Wall clock in nanoseconds.
        monotonic_s: A clock that is never set.
        entropy: Gives so many random bytes.
        draw: Returns a random integer from 0 up to, not including, its argument.
    """

    now_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic
    entropy: Callable[[int], bytes] = field(default_factory=EntropyPool)
    draw: Callable[[int], int] = random.Random().randrange  # noqa: S311  (who is asked first is no secret)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A built gateway: its parts that its runner needs."""

    ledger: EmbeddedLedger
    upstreams: UpstreamPool
    relay: Relay
    public: PublicApi
    public_edge: Edge
    admin_edge: Edge
    guard: KeyGuard | None
    feeds: Feeds


def read_tokenizers(settings: Settings) -> dict[str, FileTokenizer]:
    """Return the tokenizers of the models that have a file of one.

    Raises:
        TokenizerFileError: One of them cannot be used.
    """
    files = {model.card.id: model.tokenizer_file for model in settings.models}
    return {model: FileTokenizer(file) for model, file in files.items() if file is not None}


async def reconcile_books(settings: Settings, is_wanted: Callable[[Attempt], bool]) -> tuple[Reconciliation, int]:
    """Ask the configured upstreams what the attempts in a store's file cost; return that beside what was booked.

    The file is only read, whether or not a gateway is running on it. Besides, how many attempts had not ended yet.

    Raises:
        NotAStoreError: The file is no store of ours, or cannot be read.
    """
    found = Attempts()
    sendings = read_sendings(settings.store.path)
    wanted = (attempt for entry in sendings for attempt in found.take(entry) if is_wanted(attempt))
    async with open_for_questions(settings.upstreams) as upstreams:
        return await reconcile(wanted, upstreams), found.under_way


def build_catalog(settings: Settings, upstreams: UpstreamPool | None) -> Catalog:
    """Return the models; without upstreams, all that are priced count as served."""
    cards = [model.card for model in settings.models]
    return Catalog(cards, (lambda _: True) if upstreams is None else upstreams.serves)


def build_admin(
    settings: Settings,
    ledger: EmbeddedLedger,
    pepper: bytes,
    upstreams: UpstreamPool | None,
    proofs: EmbeddedProofs | None = None,
    lookout: Lookout | None = None,
) -> AdminApi:
    """Return the operator's routes, for the admin listener or for the command line's own process."""
    return AdminApi(
        ledger=ledger,
        keys=ledger,
        pepper=pepper,
        catalog=build_catalog(settings, upstreams),
        history=EmbeddedHistory(SqlitePast(settings.store.path)),
        upstreams=upstreams,
        proofs=proofs,
        lookout=lookout,
        admin_key=None if settings.admin.key is None else settings.admin.key.reveal(),
        entropy=EntropyPool(),
        now_ns=time.time_ns,
        key_prefix=settings.keys.prefix,
    )


def build(
    settings: Settings,
    ledger: EmbeddedLedger,
    pepper: bytes,
    machine: Machine | None = None,
    proofs: EmbeddedProofs | None = None,
    metrics: Metrics | None = None,
) -> Gateway:
    """Put a gateway together on open books; without proofs of them, it has no routes for any."""
    machine, metrics = machine or Machine(), metrics or Metrics()
    entropy = machine.entropy
    upstreams = build_upstreams(settings, machine.now_ns, machine.monotonic_s, machine.draw)
    feeds = build_feeds(settings, ledger, machine.now_ns, upstreams)
    problems, tags = Problems(settings.billing.insufficient_balance_status), Tags(pepper)
    limiter = EmbeddedLimiter(machine.monotonic_s, settings.limits.of_keys, settings.limits.of_accounts)
    relay = Relay(
        ledger=ledger,
        limiter=limiter,
        upstreams=upstreams,
        meter=AlarmingMeter(metrics, feeds.alarms),
        mint_id=lambda: ids.inference_id(machine.now_ns() // 1_000_000, entropy(10)),
        time_s=lambda: machine.now_ns() // 10**9,
        render_error=problems.error,
        tags=tags,
        temperature=settings.server.default_temperature,
        keep_alive_s=settings.server.keep_alive_s,
        calls_max=settings.server.calls_max,
        left_drain_s=settings.server.left_drain_s,
        tokenizers=read_tokenizers(settings),
        shrinks=settings.billing.short_balance == "shrink",
    )
    catalog = build_catalog(settings, upstreams)
    callers, digests = Callers(ledger, pepper, settings.keys.prefix), Digests(pepper)
    history = EmbeddedHistory(SqlitePast(settings.store.path))
    policy = settings.server.parameters
    public = PublicApi(callers=callers, ledger=ledger, digests=digests, catalog=catalog, relay=relay, policy=policy)
    shown = _build_shown(settings, ledger, catalog, callers, upstreams)
    identity = IdentityApi(callers, ledger, limiter, machine.now_ns, settings.events.low_balance_picousd)
    estimates = EstimateApi(callers=callers, catalog=catalog, relay=relay, problems=problems, policy=policy)
    admin = build_admin(settings, ledger, pepper, upstreams, proofs, feeds.lookout)

    metrics.watch(Watched(ledger, upstreams, proofs, lambda: relay.under_way, machine.now_ns, *feeds.lookout))
    figures = _build_figures(settings, metrics)
    usage = UsageApi(callers=callers, answers=UsageAnswers(history, tags, machine.now_ns))
    apis = (public, *shown, estimates, identity, usage)
    routes = [route for api in apis for route in api.routes()]
    if proofs is not None:
        routes += ProofApi(ledger=ledger, proofs=proofs, callers=callers).routes()
    admin_routes = [*admin.routes(), *(figures if settings.metrics.listener == "admin" else ())]
    routes += figures if settings.metrics.listener == "public" else ()
    routes += describe_public(routes, ledger, catalog, upstreams, problems, public_models=settings.server.public_models)
    admin_routes += describe_admin(admin_routes, admin, problems)

    def mint_request_id() -> str:
        return ids.request_id(entropy(12))

    edge, now_s = settings.server.edge, machine.monotonic_s
    router, admin_router = [CountingRouter(some, problems, metrics) for some in (routes, admin_routes)]
    return Gateway(
        ledger=ledger,
        upstreams=upstreams,
        relay=relay,
        public=public,
        feeds=feeds,
        guard=KeyGuard(relay, ledger) if settings.keys.calls_under_way == "cut" else None,
        public_edge=build_public_edge(edge, router, callers, problems, mint_request_id, now_s),
        admin_edge=build_admin_edge(edge, admin_router, admin, problems, mint_request_id, now_s),
    )


def _build_shown(
    settings: Settings, ledger: EmbeddedLedger, catalog: Catalog, callers: Callers, upstreams: UpstreamPool
) -> Sequence[ModelApi | PricingApi | BalanceApi]:
    """Return what shows callers models, prices and balances."""
    is_public = settings.server.public_models
    models = ModelApi(callers=callers, ledger=ledger, catalog=catalog, upstreams=upstreams, public=is_public)
    return (
        models,
        PricingApi(callers=callers, ledger=ledger, catalog=catalog),
        BalanceApi(callers=callers, ledger=ledger),
    )


def _build_figures(settings: Settings, metrics: Metrics) -> Sequence[Route]:
    """Return the routes of the figures, which the metrics' own key opens, and the admin key."""
    keys = (settings.metrics.key, settings.admin.key)
    return MetricsApi(metrics.render, [key.reveal() for key in keys if key is not None]).routes()


async def publish_prices(settings: Settings, ledger: EmbeddedLedger) -> None:
    """Bring the price sheet up to the configuration file, if that has changed since it was last applied."""
    configured = {model.card.id: model.price for model in settings.models if model.price is not None}
    present = ledger.sheet if ledger.sheet.version else None
    sheet = reconciled(present, configured, settings.billing.fee_ppm)
    if sheet is not None:
        await ledger.publish(sheet, "configuration")
        _log.info("prices published", version=sheet.version, models=len(sheet.prices))


async def serve(
    settings: Settings, announce: Callable[[str, int, int], None], *, accept_lost_tail: bool = False
) -> None:
    """Run a gateway until it is told to stop, then let calls under way end, and close the store.

    Args:
        settings: The whole configuration.
        announce: Called with `ready`, the public port and the admin port, once both listen.
        accept_lost_tail: Whether to go on with a store that has lost its end.

    Raises:
        StoreLockedError, NotAStoreError, SecretFileError, AnchorError: The store cannot be opened.
        PortBusyError: A port is taken.
    """
    stop = listen_for_stop()  # before anything is open: a signal during the start ends it well, too
    metrics = Metrics()
    ledger, pepper = open_books(settings.store, settings.events, accept_lost_tail=accept_lost_tail, meter=metrics)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(ledger.close)
        proofs = await open_proofs(settings.store, ledger)
        stack.push_async_callback(proofs.close)
        gateway = build(settings, ledger, pepper, proofs=proofs, metrics=metrics)
        stack.push_async_callback(gateway.upstreams.close)
        stack.push_async_callback(gateway.feeds.close)
        server = settings.server
        public = build_public_server(server, gateway.public_edge)
        admin = build_admin_server(server.edge, gateway.admin_edge)
        stack.push_async_callback(admin.close)
        stack.push_async_callback(public.close)
        await sweep(settings, gateway)
        await publish_prices(settings, ledger)
        nodes_file = settings.store.path.with_suffix(NODES_SUFFIX)
        await stack.enter_async_context(watch_networks(settings.upstreams, gateway.upstreams.upstreams, nodes_file))
        admin_port = await admin.start(settings.admin.host, settings.admin.port)
        port = await public.start(server.host, server.port)
        proofs.mind()
        settle_interpreter()
        announce("ready", port, admin_port)
        chores = [
            _keep_sweeping(settings, gateway),
            deliver_events(settings.events.webhook, ledger),
            forget_regularly(gateway, FORGET_EVERY_S),
            *gateway.feeds.chores(),
        ]
        if gateway.guard is not None:
            chores.append(gateway.guard.look_regularly(LOOK_EVERY_S))
        async with running(*chores):
            await stop.wait()
            await _drain(gateway, public, server.drain_s)


async def sweep(settings: Settings, gateway: Gateway) -> None:
    """End the holds that no call under way owns: all of them at a start, later those that a defect has lost."""
    charge_prompt = settings.store.after_crash == "charge_prompt"
    owned = gateway.relay.inferences
    expired = await gateway.ledger.expire_orphans(gateway.upstreams.rate, charge_prompt=charge_prompt, owned=owned)
    if expired:
        _log.warning("holds without an owner have expired", count=len(expired), inferences=expired[:100])


async def _keep_sweeping(settings: Settings, gateway: Gateway) -> None:
    """Sweep for as long as the store can be written; a call under way is never touched, however long it lasts."""
    while gateway.ledger.ready:
        await asyncio.sleep(SWEEP_S)
        with contextlib.suppress(StoreUnavailableError):  # whoever waits for the store is told; readiness says it too
            await sweep(settings, gateway)


async def forget_regularly(gateway: Gateway, every_s: float) -> None:
    """Forget idempotency keys and answers whose day is over, now and then every so often."""
    while True:
        with contextlib.suppress(StoreUnavailableError):  # readiness tells the operator
            if count := await gateway.ledger.purge_claims():
                _log.info("idempotency keys forgotten", count=count)
        gateway.relay.replays.purge()
        await asyncio.sleep(every_s)


async def _drain(gateway: Gateway, public: HttpServer, drain_s: float) -> None:
    """Take no new calls; let those under way end, and cut them when the deadline has passed."""
    relay = gateway.relay
    relay.stopping = True
    public.stop_accepting()
    _log.info("stopping", calls_under_way=relay.under_way)
    if not await relay.wait_until_quiet(drain_s):
        _log.warning("calls are cut", calls_under_way=relay.under_way)
        relay.cut()
        if not await relay.wait_until_quiet(CUT_S):
            public.abort()  # whoever does not even read the end of an answer
            await relay.wait_until_quiet(CUT_S)
