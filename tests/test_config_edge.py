"""The configuration: what callers may do before anybody asks who they are."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tallygate.config import EdgeSettings
from tests.test_config import OPENAI, problems_of, settings_of


def test_nobody_is_limited_or_trusted_as_shipped() -> None:
    """Without a word in the file there is no limit by address, no trusted proxy, and no page that may call."""
    assert settings_of(OPENAI).server.edge == EdgeSettings()


def test_every_setting_arrives() -> None:
    """Each setting of the edge is read into its place."""
    lines = (
        "requests_per_minute_per_address = 6000",
        "failed_keys_per_minute_per_address = 60",
        "failed_keys_per_second = 70",
        'trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]',
        'forwarded_header = "forwarded"',
        'cors_origins = ["https://chat.example", "http://localhost:3000"]',
    )
    edge = settings_of("[server]\n" + "\n".join(lines) + "\n" + OPENAI).server.edge

    assert edge == EdgeSettings(
        requests_per_minute_per_address=6000,
        failed_keys_per_minute_per_address=60,
        failed_keys_per_second=70,
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"), ip_network("fd00::/8")),
        forwarded_header="forwarded",
        cors_origins=frozenset({"https://chat.example", "http://localhost:3000"}),
    )
    assert settings_of('[server]\ncors_origins = "*"\n' + OPENAI).server.edge.cors_origins == {"*"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("requests_per_minute_per_address = 0", "from 1"),
        ("failed_keys_per_minute_per_address = 1.5", "is a number"),
        ('trusted_proxies = "10.0.0.0/8"', "is a text"),
        ('trusted_proxies = ["10.0.0.1/8"]', "addresses or networks"),
        ('trusted_proxies = ["proxy.example"]', "addresses or networks"),
        ("trusted_proxies = [10]", "addresses or networks"),
        ('forwarded_header = "x-real-ip"', '"forwarded"'),
        ('cors_origins = "https://chat.example"', "is a text"),
        ('cors_origins = ["*"]', "origins"),
        ('cors_origins = ["https://chat.example/"]', "origins"),
        ('cors_origins = ["https://Chat.example"]', "origins"),
        ('cors_origins = ["chat.example"]', "origins"),
        ('cors_origins = ["https://a.example, https://b.example"]', "origins"),
        ("cors_origins = [1]", "origins"),
    ],
)
def test_wrong_values(line: str, says: str) -> None:
    """A value that could not be meant is one problem, at its line."""
    (problem,) = problems_of(f"{OPENAI}[server]\n{line}\n")

    assert says in problem.message
    assert problem.path == f"server.{line.split(maxsplit=1)[0]}"
    assert problem.line == OPENAI.count("\n") + 2
