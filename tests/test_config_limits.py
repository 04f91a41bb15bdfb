"""The limits that hold where nothing else is said: what may be written, and what counts if nothing is."""

from __future__ import annotations

import pytest

from tallygate.config import LimitsSettings
from tallygate.core.limits import UNLIMITED, Limits
from tests.test_config import OPENAI, problems_of, settings_of


def test_as_shipped_only_requests_of_a_key_have_a_number() -> None:
    """Without a section a key has a limit that no process reaches, and nothing else is limited."""
    assert settings_of(OPENAI).limits == LimitsSettings(Limits(requests_per_minute=1_000_000), UNLIMITED)


def test_limits_of_keys_and_accounts() -> None:
    """Each limit can be set for keys and for accounts, amounts in dollars, and taken off by a word."""
    settings = settings_of(
        OPENAI
        + """
        [limits.key]
        requests_per_minute = "off"
        tokens_per_minute = 5000
        spend_day_usd = "0.000001"
        [limits.account]
        requests_per_minute = 3000
        concurrent_requests = 200
        spend_month_usd = 20
        spend_total_usd = "off"
        """
    )

    assert settings.limits == LimitsSettings(
        Limits(None, 5000, None, 1_000_000), Limits(3000, None, 200, None, 20 * 10**12)
    )


@pytest.mark.parametrize(
    ("section", "line", "path"),
    [
        ("key", "requests_per_minute = 0", "limits.key.requests_per_minute"),
        ("key", 'requests_per_minute = "Off"', "limits.key.requests_per_minute"),
        ("account", "concurrent_requests = true", "limits.account.concurrent_requests"),
        ("account", "spend_day_usd = -1", "limits.account.spend_day_usd"),
        ("key", "spend_day_usd = 0.0000000000001", "limits.key.spend_day_usd"),
        ("key", "requests = 5", "limits.key.requests"),
    ],
)
def test_what_is_no_limit_is_refused_by_its_place(section: str, line: str, path: str) -> None:
    """A value that is no limit is told by where it stands, and that "off" would do."""
    (problem,) = problems_of(f"{OPENAI}[limits.{section}]\n{line}\n")

    assert problem.path == path
    assert '"off"' in str(problem) or "Known here" in str(problem) or "Did you mean" in str(problem)


def test_a_section_of_limits_holds_two_tables() -> None:
    """A limit that stands beside the two tables is unknown."""
    (problem,) = problems_of(f"{OPENAI}[limits]\nrequests_per_minute = 5\n")

    assert problem.path == "limits.requests_per_minute"
