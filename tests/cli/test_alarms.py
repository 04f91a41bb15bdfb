"""`alarms` and `wallets`: what a running gateway finds wrong, and what pays the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.installation import Installation


def test_alarms_of_a_running_gateway(installation: Installation) -> None:
    """A model that no upstream prices is an alarm with what to do about it; nobody tells of any wallet."""
    feeds = '[prices]\nsource = "network"\n\n[models."unpriced"]\n\n[models.'
    installation.config.write_text(installation.config.read_text().replace("[models.", feeds, 1))
    with installation.gateway():
        alarms = installation.ask("alarms")["data"]
        while len(alarms) < 2:
            alarms = installation.ask("alarms")["data"]
        shown = installation.run("alarms").out

        assert {(alarm["kind"], alarm["subject"]) for alarm in alarms} == {
            ("prices_stale", "nowhere"),
            ("model_unpriced", "unpriced"),
        }
        assert "tallygate prices set" in " ".join(shown.split())
        assert installation.ask("wallets")["data"] == []
        assert installation.run("wallets").out == "No upstream tells what pays it.\n"


def test_without_a_gateway_nobody_knows(installation: Installation) -> None:
    """Alarms are a running gateway's: beside none, the command says so and ends with exit code 5."""
    outcome = installation.run("alarms")

    assert outcome.code == 5
    assert "running gateway only" in outcome.err
