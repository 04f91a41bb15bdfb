"""The figures of each node: what it reports beside what was counted, and how it stands, as `/metrics` shows them."""

from __future__ import annotations

from tests.relay.world import open_world


async def test_what_a_node_reports_too_much_is_its_drift() -> None:
    """Tokens that a node reports and has not sent are its drift, and nobody else's; a node that is exact has none."""
    async with open_world() as world:
        reported = 90_000
        world.order("wrong_usage", host=1, usage={"prompt_tokens": 5, "completion_tokens": reported})
        for _ in range(6):
            assert (await world.chat(stream=True)).status == 200
        figures = world.metrics.render().decode()
        drifts = {
            line.partition('node="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
            for line in figures.splitlines()
            if line.startswith("tallygate_node_usage_drift_tokens{")
        }
        first, odd, third = (node.address for node in world.devnet.nodes)

        assert drifts == {first: 0.0, odd: reported - 5.0, third: 0.0}


async def test_a_node_that_is_left_out_shows_why_and_for_how_long() -> None:
    """A node that cannot be reached is `out` among the figures until it has shown that it is back."""
    now_s = [1000.0]
    async with open_world(monotonic_s=lambda: now_s[0]) as world:
        world.order("down", host=0)
        for _ in range(3):
            assert (await world.chat()).status == 200

        def shows(state: str) -> bool:
            place = f'node="{world.devnet.nodes[0].address}",state="{state}",upstream="signed"'
            return f"tallygate_node_state{{{place}}} 1.0" in world.metrics.render().decode()

        assert shows("out")
        world.clear_faults()
        now_s[0] += 60.0
        assert shows("probing")
        for _ in range(6):
            assert (await world.chat()).status == 200

        assert shows("ok")
