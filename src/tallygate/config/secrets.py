"""Secrets: from the environment, or from files that only their owner can read.

Invariants:
- What a secret holds is never in a problem.
- A key is a line of visible ASCII: whatever could break out of a header is refused when it is read.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tallygate.config.schema.listeners import ADMIN_KEY_VARIABLE
from tallygate.config.settings import Secret
from tallygate.core.signing import InvalidSigningKeyError, SigningKey
from tallygate.direct.errors import WalletError
from tallygate.direct.keystore import decrypt_secret
from tallygate.network.webhook import decode_secret
from tallygate.privatefile import UnusableFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tallygate.config.keys import Key
    from tallygate.config.tables import Table

    EnvKey: TypeAlias = Key[str | None]
    FileKey: TypeAlias = Key[Path | None]

ADMIN_KEY_LENGTH_MIN: Final = 16
"""Of a key that guards routes of ours: the operator's, and the figures'."""

_VISIBLE: Final = re.compile(r"[!-~]+")
_LIKE_A_SECRET: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]{32,}|(?=.*\d)[A-Za-z0-9_+=-]{24,}")


class SecretReader:
    """Gets the secrets that a configuration refers to; notes a problem where that cannot be done.

    Args:
        environ: The environment.
        read_file: Returns what a file holds; raises `UnusableFileError`.
        base_dir: What the names of files are relative to.

    Attributes:
        env_names: The variables that were asked for.
    """

    def __init__(self, environ: Mapping[str, str], read_file: Callable[[Path], str], base_dir: Path) -> None:
        self.env_names: set[str] = set()
        self._environ = environ
        self._read_file = read_file
        self._base_dir = base_dir

    def read_bearer_key(self, table: Table, env: EnvKey, file: FileKey) -> Secret | None:
        """Return a key that is sent in a header, None if none is named; raises `BrokenError`."""
        found = self._find(table, env, file)
        return None if found is None else _visible_secret(table, found)

    def read_admin_key(self, table: Table, env: EnvKey, file: FileKey) -> Secret | None:
        """Return the admin key, None if its variable is not set; raises `BrokenError`."""
        self.env_names.add(ADMIN_KEY_VARIABLE)
        name = None if table.has(file) else table[env] or ADMIN_KEY_VARIABLE
        if name is not None and not self._environ.get(name, "").strip():
            self.env_names.add(name)
            return None
        found = self._find(table, env, file) if name is None else self._find_variable(table, env, name)
        return None if found is None else _guarding_secret(table, found)

    def read_metrics_key(self, table: Table, env: EnvKey, file: FileKey) -> Secret | None:
        """Return the key that opens the figures, None if none is named; raises `BrokenError`."""
        found = self._find(table, env, file)
        return None if found is None else _guarding_secret(table, found)

    def read_webhook_secret(self, table: Table, env: EnvKey, file: FileKey) -> Secret:
        """Return the secret of a webhook; raises `BrokenError`."""
        found = self._find(table, env, file)
        if found is None:
            raise table.broken(None, "has a webhook without a secret.", f"Write {env.name} or {file.name}.")
        secret = _visible_secret(table, found)
        with contextlib.suppress(ValueError):
            decode_secret(found.text)
            return secret
        complaint = f"names {found.source}, which holds no webhook's secret."
        raise table.broken(found.key, complaint, 'Make one: echo "whsec_$(openssl rand -base64 32)"')

    def read_wallet(self, table: Table, env: EnvKey, file: FileKey) -> SigningKey:
        """Return a wallet's signing key; raises `BrokenError`."""
        found = self._find(table, env, file)
        if found is None:
            raise table.broken(None, "names no key.", f"Write {env.name} or {file.name}.")
        try:
            return SigningKey.from_hex(found.text)
        except InvalidSigningKeyError:
            pass  # The complaint is made outside, so that it is not chained to anything.
        complaint = f"names {found.source}, which holds no private key."
        raise table.broken(found.key, complaint, "Put 64 hexadecimal digits there, with or without 0x.")

    def read_keystore(self, table: Table, file: FileKey, passphrase: EnvKey) -> SigningKey:
        """Return the signing key of an encrypted keystore; raises `BrokenError`."""
        path, name = table[file], table[passphrase]
        if path is None or name is None:
            raise table.broken(file, "names a keystore without its passphrase.", f"Write {passphrase.name} beside it.")
        found = self._find_file(table, file, self._base_dir / path)
        word = self._find_variable(table, passphrase, name)
        with contextlib.suppress(WalletError):
            return SigningKey(decrypt_secret(found.text, word.text, found.source))
        complaint = f"names {found.source}, which {word.source} does not open: another passphrase, or no keystore."
        raise table.broken(file, complaint, "Check it: tallygate wallet show --keystore FILE")

    def _find(self, table: Table, env: EnvKey, file: FileKey) -> _Found | None:
        """Return what a variable or a file holds, None if neither is named."""
        if table.has(env) and table.has(file):
            raise table.broken(file, f"stands beside {env.name}, and only one can count.", "Remove one of the two.")
        if (name := table[env]) is not None:
            return self._find_variable(table, env, name)
        if (path := table[file]) is not None:
            return self._find_file(table, file, self._base_dir / path)
        return None

    def _find_variable(self, table: Table, env: EnvKey, name: str) -> _Found:
        self.env_names.add(name)
        source = f"the environment variable {name}"
        text = self._environ.get(name, "").strip()
        if text:
            return _Found(env, source, text)
        state = "empty" if name in self._environ else "not set"
        raise table.broken(env, f"names {source}, which is {state}.", f"Set {name}.")

    def _find_file(self, table: Table, file: FileKey, path: Path) -> _Found:
        # A secret that was pasted in place of a name must not be shown.
        source = "a file" if _LIKE_A_SECRET.fullmatch(path.name) else str(path)
        try:
            text = self._read_file(path).strip()
        except UnusableFileError as error:
            complaint, remedy = error.complaint, error.remedy
        except (OSError, ValueError):
            complaint, remedy = "cannot be read", "Make it a file with one line of text, readable by this user."
        else:
            if text:
                return _Found(file, source, text)
            complaint, remedy = "is empty", "Put the key into it, as one line of text."
        raise table.broken(file, f"names {source}, which {complaint}.", remedy.replace("{path}", source))


class _Found(NamedTuple):
    """The text of a secret, and where it is from."""

    key: Key[Any]
    source: str
    text: str


def _guarding_secret(table: Table, found: _Found) -> Secret:
    """Return a key that guards routes of ours, so that nobody may guess it."""
    if len(found.text) < ADMIN_KEY_LENGTH_MIN:
        complaint = f"names {found.source}, whose key has fewer than {ADMIN_KEY_LENGTH_MIN} characters."
        raise table.broken(found.key, complaint, "Make a longer one: openssl rand -hex 24")
    return _visible_secret(table, found)


def _visible_secret(table: Table, found: _Found) -> Secret:
    if not _VISIBLE.fullmatch(found.text):
        complaint = f"names {found.source}, whose key has a space or a character outside of ASCII."
        raise table.broken(found.key, complaint, "Put the key there as one line of visible ASCII characters.")
    return Secret(found.text)
