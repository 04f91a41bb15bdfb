"""The figures, over whole calls: what they say is what the books and the answers say, and no label is a caller's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.records import HoldRequest, Sending, Written
from tests.relay.wiring import ADMIN_KEY, METRICS_KEY
from tests.relay.world import MODEL, charged, open_world, until

if TYPE_CHECKING:
    from tests.relay.world import World

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(world: World) -> Figures:
    """Ask for the figures as Prometheus does, and read them with its own parser."""
    answer = await ask(world, world.admin_port, METRICS_KEY)
    assert answer[0] == 200
    return {
        (sample.name.removeprefix("tallygate_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer[1].decode())
        for sample in family.samples
    }


async def ask(world: World, port: int, key: str | None) -> tuple[int, bytes]:
    """Ask a listener for the figures."""
    caller = await world.connect_to(port)
    await caller.request("GET", "/metrics", {} if key is None else {"authorization": f"Bearer {key}"})
    answer = await caller.answer()
    return answer.status, answer.body


def figure(found: Figures, name: str, **labels: str) -> float:
    """Return one of them; 0 where it is not there."""
    return found.get((name, frozenset(labels.items())), 0)


async def test_money_and_tokens_are_those_of_the_books() -> None:
    """Charges, fees, tokens, attempts and bills in the figures are the sums of the books' entries."""
    async with open_world() as world:
        for stream in (False, True, False):
            await world.chat(stream=stream, n=2)
        world.order("cut", after_frames=2)
        await world.chat(stream=True)
        await until(lambda: not world.gateway.relay.under_way)
        found, settles = await figures(world), world.entries(e.SETTLE)

    base = sum(e.amount_of(entry, e.USD, e.INCOME_BASE) for entry in settles)
    assert round(figure(found, "settled_usd_total", model=MODEL, kind="base") * 10**12) == base
    total = sum(figure(found, "settled_usd_total", model=MODEL, kind=kind) for kind in ("base", "fee"))
    assert round(total * 10**12) == sum(map(charged, settles)) > 0
    for kind in ("prompt", "completion"):
        tokens = sum(getattr(entry, f"{kind}_tokens") for entry in settles)
        assert figure(found, "tokens_total", model=MODEL, kind=kind) == tokens > 0
    assert figure(found, "attempts_total", upstream="signed") == 4
    assert figure(found, "billed_ngonka_total", upstream="signed") == -world.posted_ngonka("upstream/signed/payable")
    assert figure(found, "estimated_total", model=MODEL) == 1
    assert figure(found, "deposited_usd_total") == 5
    assert figure(found, "calls_total", model=MODEL, state="settled", outcome="completed") == 3
    assert figure(found, "calls_total", model=MODEL, state="settled", outcome="died") == 1
    assert figure(found, "endings_total", model=MODEL, ending="settle") == 4
    assert figure(found, "call_seconds_count", model=MODEL) == figure(found, "ttft_seconds_count", model=MODEL) == 4
    assert figure(found, "overhead_seconds_count") == 4
    assert figure(found, "commit_seconds_count") > 0
    assert figure(found, "commit_entries_sum") > 8


async def test_every_figure_is_documented() -> None:
    """The contract's table names exactly the figures that there are."""
    async with open_world() as world:
        families = {
            family.name.removeprefix("tallygate_") + ("_total" if family.type == "counter" else "")
            for family in text_string_to_metric_families(world.metrics.render().decode())
            if family.name.startswith("tallygate_")
        }
    page = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
    table = page[page.index("## Metrics") : page.index("## Events")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert documented - {"checkpoint_age_seconds"} == families  # this world signs nothing


async def test_requests_are_counted_by_route_model_and_status() -> None:
    """Each answered request counts once under its route, known model and status, and a refusal under its code too."""
    async with open_world(usd=0) as world:
        assert (await world.chat()).status == 402
        assert (await world.chat(model="no/such")).status == 404
        assert (await world.chat(nonsense=1)).status == 400
        for path in ("/v1/models", f"/v1/models/{MODEL}", "/v1/nothing", "/v1/nothing/else"):
            await world.get(path)
        found = await figures(world)

    chat = "/v1/chat/completions"
    requests = {dict(labels)["route"] for name, labels in found if name == "requests_total"}
    assert requests == {chat, "/v1/models", "/v1/models/{id...}", ""}
    assert figure(found, "requests_total", route=chat, model=MODEL, code="402") == 1
    assert figure(found, "requests_total", route=chat, model="", code="404") == 1
    assert figure(found, "requests_total", route=chat, model="", code="400") == 1
    assert figure(found, "requests_total", route="/v1/models", model="", code="200") == 1
    assert figure(found, "requests_total", route="", model="", code="404") == 2
    assert figure(found, "refusals_total", route=chat, code="insufficient_balance") == 1
    assert figure(found, "refusals_total", route=chat, code="model_not_found") == 1
    assert figure(found, "refusals_total", route="", code="unsupported_endpoint") == 2


async def test_what_is_under_way_is_looked_up() -> None:
    """A call under way is in flight and its hold open; afterwards neither is, and nothing is out of balance."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        during, held = await figures(world), world.account.held
        world.open_barriers()
        await caller.answer()
        await until(lambda: not world.gateway.relay.under_way)
        after = await figures(world)

    assert (figure(during, "calls_in_flight"), figure(during, "holds_open")) == (1, 1)
    assert round(figure(during, "held_usd") * 10**12) == held > 0
    assert (figure(after, "calls_in_flight"), figure(after, "holds_open"), figure(after, "held_usd")) == (0, 0, 0)
    for found in (during, after):
        assert figure(found, "store_ready") == figure(found, "accounts") == 1
        for check in ("held_usd", "entries"):
            assert found["ledger_imbalance", frozenset({("check", check)})] == 0


async def test_failures_of_upstreams_are_counted_by_kind() -> None:
    """A failed sending counts under its upstream and its row of the retry table, and the place shows as out."""
    async with open_world("gonka", "bearer") as world:
        world.order("503", host=0, message="a caller's own words")
        await world.chat()
        found = await figures(world)
        places = {dict(labels)["node"] for name, labels in found if name == "node_state"}
        states = [
            figure(found, "node_state", upstream="signed", node=world.devnet.nodes[0].address, state=state)
            for state in ("ok", "out", "out for good")
        ]

    assert figure(found, "upstream_errors_total", upstream="signed", kind="not available") == 1
    assert places == {*(node.address for node in world.devnet.nodes), ""}
    assert states == [0, 1, 0]


async def test_overrun_and_loss_are_counted() -> None:
    """What an upstream reports beyond a hold, and what of its bills nobody pays, add up as in the books."""
    async with open_world() as world:
        world.order("wrong_usage", usage={"prompt_tokens": 200, "completion_tokens": 6})
        await world.chat(max_tokens=1)
        world.order("500", times=None)
        await world.chat()
        world.clear_faults()
        await until(lambda: not world.gateway.relay.under_way)
        found, unpaid = await figures(world), world.posted_ngonka(e.COST_UNPAID)
        overrun = sum(entry.overrun_list_picousd or 0 for entry in world.entries(e.SETTLE))

    assert figure(found, "unpaid_ngonka_total") == unpaid > 0
    assert round(figure(found, "overrun_usd_total", model=MODEL) * 10**12) == overrun
    assert figure(found, "endings_total", model=MODEL, ending="void") == 1


async def test_a_hold_without_an_owner_is_counted() -> None:
    """An expiry counts what is charged for it, with its tokens, and what is lost, which is no overrun."""
    async with open_world() as world:
        request = HoldRequest("chatcmpl-1", world.account.id, None, MODEL, 90, 10, Sending(0, 0, "signed", None))
        await world.ledger.hold(request)
        await world.ledger.expire_orphans(world.gateway.upstreams.rate, charge_prompt=True)
        found, (expiry,) = await figures(world), world.entries(e.EXPIRE)

    assert figure(found, "endings_total", model=MODEL, ending="expire") == 1
    assert figure(found, "tokens_total", model=MODEL, kind="prompt") == expiry.prompt_tokens == 30
    assert figure(found, "crash_loss_usd_total", model=MODEL) * 10**12 == expiry.overrun_list_picousd
    assert figure(found, "overrun_usd_total", model=MODEL) == 0


async def test_the_figures_ask_for_a_key() -> None:
    """The metrics' own key and the admin key open them, nothing else does, and the callers' port has none."""
    async with open_world() as world:
        asked = [(await ask(world, world.admin_port, key))[0] for key in (METRICS_KEY, ADMIN_KEY, "wrong", None)]
        public = [(await ask(world, world.port, key))[0] for key in (METRICS_KEY, world.secret)]
        caller = await world.connect_to(world.admin_port)
        await caller.request("GET", "/admin/v1/accounts", {"authorization": f"Bearer {METRICS_KEY}"})
        admin = (await caller.answer()).status

    assert (asked, public, admin) == ([200, 200, 401, 401], [404, 404], 401)


async def test_the_figures_can_be_beside_the_callers_routes_or_nowhere() -> None:
    """`listener` moves them to the callers' port, with the same keys, or takes them away."""
    seen = []
    for listener in ("public", "off"):
        async with open_world(metrics=listener) as world:
            asked = [
                (await ask(world, port, key))[0]
                for port in (world.port, world.admin_port)
                for key in (METRICS_KEY, world.secret)
            ]
            seen.append(asked)

    assert seen == [[200, 401, 404, 404], [404, 404, 404, 404]]


async def test_books_that_do_not_agree_show() -> None:
    """Money that an account holds for no hold is an imbalance, as is an entry that does not sum to zero."""
    async with open_world(sound=False) as world:
        world.account.held += 3 * 10**12
        broken = await figures(world)
        world.account.held -= 3 * 10**12
        (whole, *_) = world.entries(e.DEPOSIT)
        world.metrics.batch_taken([Written(whole, b"", b"")])
        sound = await figures(world)
        world.metrics.batch_taken([Written(replace(whole, postings=whole.postings[1:]), b"", b"")])
        found = await figures(world)

    checks = [
        figure(seen, "ledger_imbalance", check=check)
        for seen in (broken, sound, found)
        for check in ("held_usd", "entries")
    ]
    assert checks == [3, 0, 0, 0, 0, 1]
