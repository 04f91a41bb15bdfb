"""Origins: what a base URL is taken apart into, and what is refused."""

import pytest

from tallygate.network.origin import Origin


@pytest.mark.parametrize(
    ("url", "origin", "path", "authority"),
    [
        ("https://h:8443/v1", Origin("https", "h", 8443), b"/v1", "h:8443"),
        ("https://h/v1/", Origin("https", "h", 443), b"/v1", "h"),
        ("http://Node-1.example", Origin("http", "node-1.example", 80), b"", "node-1.example"),
        ("http://h:80/", Origin("http", "h", 80), b"", "h"),
        ("http://h:443", Origin("http", "h", 443), b"", "h:443"),
        ("http://10.0.0.1:8000/a%20b", Origin("http", "10.0.0.1", 8000), b"/a%20b", "10.0.0.1:8000"),
        ("http://[::1]:8000/v1", Origin("http", "::1", 8000), b"/v1", "[::1]:8000"),
    ],
)
def test_parse(url: str, origin: Origin, path: bytes, authority: str) -> None:
    """A base URL is an origin, whose default port the Host header leaves out, and a path."""
    assert (origin, path) == Origin.parse(url)
    assert authority == origin.authority
    assert f"{origin.scheme}://{authority}" == str(origin)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8443",
        "ftp://h",
        "http://",
        "http://user@h",
        "http://:secret@h",
        "http://h?a=b",
        "http://h/#c",
        "http://h/?",
        "http://h/a b",
        "http://h/ä",
        "http://bücher.example",
        "http://h h",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
    ],
)
def test_parse_refuses(url: str) -> None:
    """What is not a plain base URL is refused."""
    with pytest.raises(ValueError):
        Origin.parse(url)


def test_password_is_not_repeated() -> None:
    """The refusal of a URL with a password does not show it."""
    with pytest.raises(ValueError) as refusal:
        Origin.parse("http://user:secret@h/?q")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("host", ["", "h\r\nX-Evil: 1", "h/x", "h:80", "[::1]", "h h"])
def test_host_cannot_break_a_header(host: str) -> None:
    """An origin whose host could break the Host line does not come into being."""
    # "h:80" would be an IPv6 address if h were a digit.
    with pytest.raises(ValueError):
        Origin("http", host, 80)
