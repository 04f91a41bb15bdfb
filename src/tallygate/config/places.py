"""The kinds of values that name a place: listeners, servers, nodes, files, environment variables.

As in `kinds`, no message quotes a value. Nothing here looks whether a place exists.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final, NamedTuple

from tallygate.config.kinds import WrongValueError, wrong_type
from tallygate.core.address import is_address
from tallygate.network.origin import Origin

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ENV_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_HEXADECIMAL: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]{32,}")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")
_QUERY: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/%?\[\]]*")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class Listen:
    """A host and a port to listen on."""

    noun = 'an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"'

    def read(self, value: object) -> Address:
        """Return the host, without brackets, and the port."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        host, _, port = value.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        try:
            host = str(ipaddress.IPv6Address(host[1:-1])) if is_bracketed else host
            number = int(port) if _PORT.fullmatch(port) else -1
            # Port 0 asks the system for a free one, which no origin can be; so 1 stands in for it.
            Origin("http", host, number or 1)
        except ValueError:
            host = ""
        if not host or (":" in host and not is_bracketed):
            raise WrongValueError(f"is not {self.noun}.", f"Write {self.noun}.")
        return Address(host, number)


class Networks:
    """Addresses, alone or as networks."""

    noun = 'an array of addresses or networks, such as ["10.0.0.0/8", "::1"]'

    def read(self, value: object) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Return the networks."""
        if not isinstance(value, list):
            raise wrong_type(value, self.noun)
        try:
            return tuple(ipaddress.ip_network(item if isinstance(item, str) else "") for item in value)
        except ValueError:
            pass
        raise WrongValueError(f"is not {self.noun}.", "Write networks without host bits, such as 10.0.0.0/8.")


class Origins:
    """Where web pages come from."""

    noun = 'an array of origins, such as ["https://chat.example"], or "*" for all'

    def read(self, value: object) -> frozenset[str]:
        """Return the origins; `*` alone stands for all."""
        if value == "*":
            return frozenset({"*"})
        if not isinstance(value, list):
            raise wrong_type(value, self.noun)
        if not all(isinstance(item, str) and _ORIGIN.fullmatch(item) for item in value):
            remedy = "Write each as browsers do: https://, a host in small letters, perhaps a port; no path."
            raise WrongValueError(f"is not {self.noun}.", remedy)
        return frozenset(value)


class BaseUrl(NamedTuple):
    """A URL, and what it is made of."""

    url: str
    origin: Origin
    path: bytes


class Url:
    """The base URL of a server."""

    noun = 'a base URL, such as "https://node.example:8000/v1"'

    def read(self, value: object) -> BaseUrl:
        """Return the URL, taken apart."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        origin, path = _take_apart(value, self.noun)
        if path.endswith((b"/completions", b"/models")):
            raise WrongValueError("is the URL of one route, and must be a base URL.", "End it before the route: …/v1")
        return BaseUrl(value, origin, path)


def _take_apart(url: str, noun: str) -> tuple[Origin, bytes]:
    """Return the origin of a URL, and its path without a closing slash."""
    try:
        # The standard library leaves control characters and space out of a URL without a word.
        return Origin.parse(url if _CONTROL.search(url) is None and url == url.strip() else "")
    except ValueError:
        pass  # The complaint is made outside, so that it is not chained to what quotes the URL.
    remedy = "Write http:// or https://, a host, and perhaps a port and a path; no user, password or query."
    raise WrongValueError(f"is not {noun}.", remedy)


class Endpoint:
    """The whole URL of one route."""

    noun = 'a URL, such as "https://example.com/tallygate-events"'

    def read(self, value: object) -> BaseUrl:
        """Return the URL, taken apart, with its path to the last letter."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        origin, path = _take_apart(value, self.noun)
        # A closing slash, which a base URL can do without, may be the difference between a route and none.
        closing = b"/" if value.endswith("/") or not path else b""
        return BaseUrl(value, origin, path + closing)


class QueryUrl:
    """The whole URL of something to read, which may have a query."""

    noun = 'a URL, such as "https://example.com/price?of=gnk"'

    def read(self, value: object) -> BaseUrl:
        """Return the URL, taken apart, with its path and query to the last letter."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        url, mark, query = value.partition("?")
        if not _QUERY.fullmatch(query):
            raise WrongValueError(f"is not {self.noun}.", "Escape what stands behind the question mark.")
        endpoint = Endpoint().read(url)
        return BaseUrl(value, endpoint.origin, endpoint.path + f"{mark}{query}".encode())


class NodeAddress:
    """The address of a node on the chain."""

    noun = "an address, such as gonka1…"

    def read(self, value: object) -> str:
        """Return the address."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        if not is_address(value):
            remedy = "Copy it from the node's operator: 44 lower-case characters that begin with gonka1."
            raise WrongValueError("is not the address of an account: its form or its checksum is wrong.", remedy)
        return value


class FileName:
    """The name of a file, relative to the folder of the configuration file."""

    noun = "the name of a file"

    def read(self, value: object) -> Path:
        """Return the name."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        if _CONTROL.search(value) or not Path(value).name or value.endswith(("/", "..")):
            raise WrongValueError("is not the name of a file.", "Write a path, absolute or from this file's folder.")
        if value.startswith("~"):
            raise WrongValueError("begins with ~, which is not expanded.", "Write the path in full.")
        return Path(value)


class StoreUrl:
    """Where the books are."""

    noun = 'sqlite: and the name of a file, such as "sqlite:data/tallygate.db"'

    def read(self, value: object) -> Path:
        """Return the name of the file."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        scheme, _, name = value.partition(":")
        if scheme in {"postgresql", "postgres"}:
            raise WrongValueError("names PostgreSQL, which comes later.", f"For now, write {self.noun}.")
        if scheme != "sqlite" or name.startswith("//") or name == ":memory:":
            raise WrongValueError(f"is not {self.noun}.", f"Write {self.noun}.")
        return FileName().read(name)


class EnvName:
    """The name of an environment variable."""

    noun = "the name of an environment variable, such as WALLET_KEY"

    def read(self, value: object) -> str:
        """Return the name."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        # A secret that was pasted in place of a name must not be taken for one: names are shown.
        if not _ENV_NAME.fullmatch(value) or _HEXADECIMAL.fullmatch(value):
            remedy = "Write the variable's name (capital letters, digits, _), and put the secret into the variable."
            raise WrongValueError("is not the name of an environment variable.", remedy)
        return value
