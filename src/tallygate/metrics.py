"""The operator's figures, by Prometheus's own library: what is counted as it happens, what is looked up when asked.

Money is counted in integers, from the entries of the books as they become durable, and turned into Prometheus's
numbers only when it is shown. Times are in histograms. How many calls, holds and places there are is looked up. No
label holds what a caller has written, nor a key or an account: routes, models, upstreams, nodes and codes only.

Each gateway has a registry of its own, and nothing here is global.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

import tallygate
from tallygate.core.ledger import entry as e
from tallygate.core.money import PICOUSD_PER_USD
from tallygate.core.proofs.checkpoint import decode_checkpoint
from tallygate.core.standing import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from tallygate.alarms import Alarms
    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.records import Written
    from tallygate.core.retry import Failure
    from tallygate.core.wallets import Wallet
    from tallygate.ports import Ledger, Proofs, Upstreams
    from tallygate.ports.meter import CallEnd

_OVERHEAD_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
"""A commit takes from a fraction of a millisecond to some tens of them, by the disk."""
_ANSWER_S: Final = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
"""From a small model's first byte to the longest call that an upstream is given as shipped."""
_ENTRIES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_ESTIMATED: Final = int(e.Flag.ESTIMATED)  # an `int` is compared ten times as fast as a flag
_PAYABLE: Final = e.payable_account("")[: -len("/payable")]

Labels = tuple[str, ...]
Tallies = defaultdict[Labels, int]


class Watched(NamedTuple):
    """What is looked up when figures are asked for."""

    ledger: Ledger
    upstreams: Upstreams
    proofs: Proofs | None
    calls_under_way: Callable[[], int]
    now_ns: Callable[[], int]
    alarms: Alarms | None = None
    wallets: Callable[[], Sequence[Wallet]] = tuple


class Metrics:
    """The figures of one gateway; a `Meter`."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._watched: Watched | None = None
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._refusals: Tallies = defaultdict(int)
        self._calls: Tallies = defaultdict(int)
        self._upstream_errors: Tallies = defaultdict(int)
        self._answered: Tallies = defaultdict(int)
        self._booked = _Booked()
        self._overhead, self._commit, self._batch = _Spread(_OVERHEAD_S), _Spread(_OVERHEAD_S), _Spread(_ENTRIES)
        self._first_byte: dict[str, _Spread] = defaultdict(lambda: _Spread(_ANSWER_S))
        self._total: dict[str, _Spread] = defaultdict(lambda: _Spread(_ANSWER_S))
        ProcessCollector(registry=registry)
        registry.register(self)

    def watch(self, watched: Watched) -> None:
        """From now on, show of these what can be looked up."""
        self._watched = watched

    def render(self) -> bytes:
        """Return all figures as they are now, in Prometheus's text format."""
        return generate_latest(self._registry)

    # --- Meter -------------------------------------------------------------------------------------------------

    def request_answered(self, route: str, model: str, status: int, code: str | None) -> None:
        """Count an answered request."""
        self._requests[route, model, status] += 1
        if code is not None:
            self._refusals[route, code] += 1

    def call_ended(self, end: CallEnd) -> None:
        """Count the ending of a call."""
        self._calls[end.model, end.state, end.outcome] += 1
        self._total[end.model].observe(end.total_s)
        if end.first_byte_s is not None:
            self._first_byte[end.model].observe(end.first_byte_s)
        if end.overhead_s is not None:
            self._overhead.observe(end.overhead_s)

    def sending_failed(self, upstream: str, node: str | None, failure: Failure) -> None:
        """Count a failed sending."""
        del node
        self._upstream_errors[upstream, failure.kind] += 1

    def sending_answered(self, upstream: str, node: str | None) -> None:
        """Count a sending that was answered."""
        del node
        self._answered[(upstream,)] += 1

    def batch_taken(self, entries: Sequence[Written]) -> None:
        """Count what the books have taken in one batch."""
        if entries:
            self._batch.observe(len(entries))
        for written in entries:
            self._booked.take(written.entry)

    def batch_durable(self, seconds: float) -> None:
        """Count the time that a batch has waited for the disk."""
        self._commit.observe(seconds)

    # --- the registry's question -------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Return what the library does not count for us."""
        build = _gauge("build_info", "The version that runs.", "version")
        build.add_metric((tallygate.__version__,), 1)
        yield build
        yield _counter("requests", "Answered requests.", _told(self._requests), "route", "model", "code")
        yield _counter("refusals", "Refused requests, by code of the contract.", self._refusals, "route", "code")
        yield _counter("calls", "Calls that have ended.", self._calls, "model", "state", "outcome")
        yield _spread("overhead_seconds", "From a checked request to its sending.", {(): self._overhead})
        yield _spread("ttft_seconds", "From a checked request to the first byte.", _keyed(self._first_byte), "model")
        yield _spread("call_seconds", "From a checked request to the ending.", _keyed(self._total), "model")
        yield _spread("commit_seconds", "Waiting for the disk, per batch.", {(): self._commit})
        yield _spread("commit_entries", "Entries that share a commit.", {(): self._batch})
        yield _counter("upstream_errors", "Sendings that failed.", self._upstream_errors, "upstream", "kind")
        yield _counter("upstream_answers", "Sendings that were answered.", self._answered, "upstream")
        yield from self._booked.collect()
        if self._watched is not None:
            yield from _look_up(self._watched, self._booked.unbalanced)


class _Spread:
    """A histogram that costs little to fill.

    The library's own takes a lock and looks at bucket after bucket, which came to 15 microseconds a call. Each of
    these is filled by one thread.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many values are at most as large as each bound, and the sum of all."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True)), self._sum


class _Booked:
    """What has been booked since the start, in integers: pico-dollars, ngonka, tokens, entries."""

    def __init__(self) -> None:
        self.unbalanced = 0
        self._settled: Tallies = defaultdict(int)
        self._tokens: Tallies = defaultdict(int)
        self._endings: Tallies = defaultdict(int)
        self._estimated: Tallies = defaultdict(int)
        self._overrun: Tallies = defaultdict(int)
        self._crash_loss: Tallies = defaultdict(int)
        self._attempts: Tallies = defaultdict(int)
        self._billed: Tallies = defaultdict(int)
        self._unpaid: Tallies = defaultdict(int)
        self._deposited: Tallies = defaultdict(int)

    def take(self, entry: Entry) -> None:
        """Count one entry."""
        kind, model = entry.kind, entry.model or ""
        if kind == e.HOLD or (kind == e.ATTEMPT and entry.completion_tokens is None):
            self._attempts[(entry.upstream or "",)] += 1
        elif kind in e.ENDINGS:
            self._take_ending(entry, kind, model)
        self._take_postings(entry, kind, model)

    def _take_postings(self, entry: Entry, kind: str, model: str) -> None:
        usd = ngonka = 0
        for book, name, amount in entry.postings:
            if book == e.USD:
                usd += amount
                if name == e.INCOME_BASE:
                    self._settled[model, "base"] += amount
                elif name == e.INCOME_FEE:
                    self._settled[model, "fee"] += amount
                elif name == e.WORLD and kind == e.DEPOSIT:
                    self._deposited[()] -= amount
            else:
                ngonka += amount
                if name == e.COST_UNPAID:
                    self._unpaid[()] += amount
                elif name.startswith(_PAYABLE):
                    self._billed[(name[len(_PAYABLE) : -len("/payable")],)] -= amount
        if usd or ngonka:
            self.unbalanced += 1

    def _take_ending(self, entry: Entry, kind: str, model: str) -> None:
        self._endings[model, kind] += 1
        self._tokens[model, "prompt"] += entry.prompt_tokens or 0
        self._tokens[model, "completion"] += entry.completion_tokens or 0
        if entry.flags & _ESTIMATED:
            self._estimated[(model,)] += 1
        if entry.overrun_list_picousd:
            lost = self._crash_loss if kind == e.EXPIRE else self._overrun
            lost[(model,)] += entry.overrun_list_picousd

    def collect(self) -> Iterator[Metric]:
        """Return the figures."""
        yield _counter("settled_usd", "Charged.", _dollars(self._settled), "model", "kind")
        yield _counter("overrun_usd", "Reported beyond holds, at list price.", _dollars(self._overrun), "model")
        yield _counter("crash_loss_usd", "Lost with holds that no call owned.", _dollars(self._crash_loss), "model")
        yield _counter("deposited_usd", "Deposits.", _dollars(self._deposited))
        yield _counter("tokens", "Tokens that were charged for.", self._tokens, "model", "kind")
        yield _counter("endings", "Holds that have ended.", self._endings, "model", "ending")
        yield _counter("estimated", "Endings whose tokens we counted.", self._estimated, "model")
        yield _counter("attempts", "Sendings that were begun.", self._attempts, "upstream")
        yield _counter("billed_ngonka", "What upstreams bill, as booked.", self._billed, "upstream")
        yield _counter("unpaid_ngonka", "What of it no customer has paid.", self._unpaid)


def _look_up(watched: Watched, unbalanced: int) -> Iterator[Metric]:
    ledger, sums = watched.ledger, watched.ledger.sums
    yield _gauge("store_ready", "Whether the store takes writes.", value=int(ledger.ready))
    yield _gauge("calls_in_flight", "Calls under way.", value=watched.calls_under_way())
    yield _gauge("holds_open", "Holds that have not ended.", value=sums.holds)
    yield _gauge("held_usd", "Money that is set aside.", value=sums.held / PICOUSD_PER_USD)
    yield _gauge("available_usd", "Money that customers can spend.", value=sums.available / PICOUSD_PER_USD)
    yield _gauge("accounts", "Accounts.", value=sums.accounts)
    yield _gauge("events_waiting", "Events that the webhook does not have yet.", value=len(ledger.kept_events))
    imbalance = _gauge("ledger_imbalance", "What does not add up; always 0.", "check")
    imbalance.add_metric(("held_usd",), abs(sums.held - sums.holds_picousd) / PICOUSD_PER_USD)
    imbalance.add_metric(("entries",), unbalanced)
    yield imbalance
    if watched.proofs is not None and (signed := watched.proofs.latest) is not None:
        age_s = (watched.now_ns() - decode_checkpoint(signed.body).time_ns) / 10**9
        yield _gauge("checkpoint_age_seconds", "Since the books were last signed.", value=age_s)
    yield from _look_around(watched)
    yield from _look_at_places(watched.upstreams)


def _look_around(watched: Watched) -> Iterator[Metric]:
    if watched.alarms is not None:
        alarms = _gauge("alarms", "1 for an alarm that stands.", "kind", "subject")
        for alarm in watched.alarms.standing:
            alarms.add_metric((alarm.kind.value, alarm.subject), 1)
        yield alarms
    wallets = _gauge("wallet_ngonka", "What a wallet or an escrow has.", "upstream", "wallet", "state")
    for wallet in watched.wallets():
        for state, ngonka in wallet.amounts.items():
            wallets.add_metric((wallet.upstream, wallet.subject, state), ngonka)
    yield wallets


def _look_at_places(upstreams: Upstreams) -> Iterator[Metric]:
    states = _gauge("node_state", "1 for the state that a place is in.", "upstream", "node", "state")
    in_flight = _gauge("node_calls_in_flight", "Calls under way at a place.", "upstream", "node")
    ttft = _gauge("node_ttft_seconds", "Moving average of the time to a stream's first byte.", "upstream", "node")
    odd = CounterMetricFamily(
        "tallygate_node_implausible_usage", "Answers whose usage cannot be true.", labels=("upstream", "node")
    )
    drift = _gauge(
        "node_usage_drift_tokens", "Completion tokens that a place has reported, minus our count.", "upstream", "node"
    )
    for upstream in upstreams.upstreams:
        for place in upstream.places:
            labels, standing = (upstream.name, place.node or ""), place.standing
            for state in State:
                states.add_metric((*labels, state.value), int(state is standing.state))
            in_flight.add_metric(labels, standing.in_flight)
            odd.add_metric(labels, standing.odd)
            drift.add_metric(labels, standing.reported_tokens - standing.counted_tokens)
            if standing.ttft_s is not None:
                ttft.add_metric(labels, standing.ttft_s)
    yield from (states, in_flight, ttft, odd, drift)


def _dollars(tallies: Mapping[Labels, int]) -> dict[Labels, float]:
    return {labels: picousd / PICOUSD_PER_USD for labels, picousd in tallies.items()}


def _told(requests: Mapping[tuple[str, str, int], int]) -> dict[Labels, float]:
    return {(route, model, str(status)): count for (route, model, status), count in requests.items()}


def _keyed(spreads: Mapping[str, _Spread]) -> dict[Labels, _Spread]:
    return {(name,): spread for name, spread in spreads.items()}


def _spread(name: str, what: str, spreads: Mapping[Labels, _Spread], *labels: str) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"tallygate_{name}", what, labels=labels)
    for key, spread in spreads.items():
        family.add_metric(key, *spread.buckets())
    return family


def _counter(name: str, what: str, values: Mapping[Labels, float], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"tallygate_{name}", what, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, what: str, *labels: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tallygate_{name}", what, value=value, labels=labels or None)
