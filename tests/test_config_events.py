"""The configuration of events: what a right section comes to, and what is wrong with others."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.config import EventsSettings, Secret, WebhookSettings, parse
from tallygate.network.origin import Origin
from tests.test_config import ENVIRON, OPENAI, problems_of, settings_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WITH_SECRET = {**ENVIRON, "HOOK": SECRET}
URL = "https://example.com/events"


def events_of(*lines: str, secret: str = SECRET) -> EventsSettings:
    """Return what a section of these lines comes to."""
    return settings_of("\n".join([OPENAI, "[events]", *lines]), {**ENVIRON, "HOOK": secret}).events


def test_without_a_section_events_are_only_logged() -> None:
    """There is no threshold and no webhook unless they are named."""
    assert settings_of(OPENAI).events == EventsSettings(low_balance_picousd=None, webhook=None)


def test_a_threshold_needs_no_webhook() -> None:
    """A threshold alone is for the log; zero tells of accounts below zero."""
    assert events_of('low_balance_usd = "0.25"') == EventsSettings(250_000_000_000, None)
    assert events_of("low_balance_usd = 0") == EventsSettings(0, None)


def test_a_webhook_has_a_url_and_a_secret() -> None:
    """A webhook's URL is taken apart, its secret read from where it is, and never shown."""
    settings = settings_of(f'{OPENAI}[events]\nwebhook_url = "{URL}"\nwebhook_secret_env = "HOOK"\n', WITH_SECRET)

    assert settings.events.webhook == WebhookSettings(
        URL, Origin("https", "example.com", 443), b"/events", Secret(SECRET), 10.0
    )
    assert "HOOK" in settings.secret_env_names
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.com", b"/"),
        ("https://example.com/", b"/"),
        ("http://127.0.0.1:9/a/", b"/a/"),
        ("http://127.0.0.1:9/a//b", b"/a//b"),
        ("http://[::1]:9/models", b"/models"),
    ],
)
def test_a_path_is_kept_to_its_last_letter(url: str, path: bytes) -> None:
    """Unlike a base URL, a webhook's URL is a route, and may end in a slash."""
    webhook = events_of(f'webhook_url = "{url}"', 'webhook_secret_env = "HOOK"').webhook

    assert webhook is not None
    assert webhook.path == path


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_" + "QUJD" * 7,  # 21 bytes
        "whsec_" + "QUJD" * 22,  # 66 bytes
        SECRET.replace("M", "!"),
    ],
)
def test_what_is_no_webhook_secret_is_refused(secret: str) -> None:
    """A secret has the prefix and 24 to 64 bytes in base64; the problem names the variable and shows nothing."""
    text = f'{OPENAI}[events]\nwebhook_url = "{URL}"\nwebhook_secret_env = "HOOK"\n'
    (problem,) = problems_of(text, {**ENVIRON, "HOOK": secret})

    assert (problem.path, problem.line) == ("events.webhook_secret_env", 7)
    assert "HOOK" in problem.message
    assert secret not in str(problem) or secret == "whsec_"


def test_a_webhook_without_a_secret_is_refused() -> None:
    """Nobody could tell unsigned events from forged ones."""
    (problem,) = problems_of(f'{OPENAI}[events]\nwebhook_url = "{URL}"\n')

    assert problem.path == "events"
    assert "without a secret" in problem.message


def test_a_command_needs_no_secret_of_the_webhook() -> None:
    """Where no way to the network is read, events are kept for the webhook, but its secret is not asked for."""
    text = f'{OPENAI}[events]\nwebhook_url = "{URL}"\nwebhook_secret_env = "HOOK"\n'
    settings = parse(
        tomllib.loads(text, parse_float=Decimal),
        environ={},
        read_secret_file=lambda _: "",
        lines=lambda _: None,
        base_dir=Path("/etc"),
        upstreams=False,
    )

    assert settings.events.webhook is not None
    assert settings.events.webhook.key is None
