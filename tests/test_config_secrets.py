"""The configuration's secrets: where they come from, what is refused, and that nothing ever shows one."""

from __future__ import annotations

import copy
import os
import pickle
import tomllib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tallygate.config import ConfigError, GonkaAccess, MetricsSettings, Secret, load, parse
from tallygate.core.signing import SigningKey
from tallygate.direct.keystore import encrypt_secret
from tallygate.privatefile import FILE_BYTES_MAX, UnusableFileError, read_secret_file
from tests.test_config import ADMIN_KEY, API_KEY, ENVIRON, GONKA, OPENAI, WALLET, problems_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS = (WALLET, ADMIN_KEY, API_KEY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three secrets and a configuration that refers to them."""
    for name, secret in (("wallet", WALLET), ("admin", ADMIN_KEY), ("api", API_KEY)):
        (tmp_path / name).write_text(f"{secret}\n")
        (tmp_path / name).chmod(0o600)
    text = '[admin]\nkey_file = "admin"\n' + OPENAI + 'api_key_file = "api"\n'
    text += GONKA.replace('key_env = "WALLET"', 'key_file = "wallet"')
    (tmp_path / "tallygate.toml").write_text(text)
    return tmp_path


def test_a_secret_shows_nothing() -> None:
    """A secret's repr and str hold none of it, and it is neither copied nor pickled."""
    secret = Secret(API_KEY)

    assert (repr(secret), str(secret), f"{secret}") == ("<Secret>", "<Secret>", "<Secret>")
    assert secret.reveal() == API_KEY
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)


def test_secrets_compare_by_what_they_hold() -> None:
    """Two secrets of one text are equal; a secret equals no text, and has no hash."""
    assert Secret("a\udcff") == Secret("a\udcff")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    with pytest.raises(TypeError):
        hash(Secret("a"))


def test_settings_show_no_secret(folder: Path) -> None:
    """Neither repr nor str of settings holds a secret, wherever that came from."""
    from_files = load(folder / "tallygate.toml", {})
    from_environment = settings_of(GONKA + OPENAI + 'api_key_env = "API_KEY"\n')

    for settings in (from_files, from_environment):
        assert settings.admin.key == Secret(ADMIN_KEY)
        for secret in SECRETS:
            assert secret not in repr(settings) + str(settings)


def test_a_wallet_comes_from_a_file_or_a_variable(folder: Path) -> None:
    """The same key in a file and in a variable is the same wallet."""
    from_file = load(folder / "tallygate.toml", {}).upstreams[1].access
    from_environment = settings_of(GONKA).upstreams[0].access

    assert isinstance(from_file, GonkaAccess)
    assert isinstance(from_environment, GonkaAccess)
    assert SigningKey.from_hex(WALLET).address == from_file.wallets[0].address == from_environment.wallets[0].address


def test_a_wallet_comes_from_a_keystore(folder: Path) -> None:
    """An encrypted keystore is opened by the passphrase of a variable."""
    (folder / "wallet").write_text(encrypt_secret(bytes.fromhex(WALLET.removeprefix("0x")), "open sesame"))
    keystore = 'keystore_file = "wallet", passphrase_env = "PASSPHRASE"'
    text = (folder / "tallygate.toml").read_text()
    (folder / "tallygate.toml").write_text(text.replace('key_file = "wallet"', keystore))

    access = load(folder / "tallygate.toml", {"PASSPHRASE": "open sesame"}).upstreams[1].access

    assert isinstance(access, GonkaAccess)
    assert access.wallets[0].address == SigningKey.from_hex(WALLET).address
    with pytest.raises(ConfigError, match="does not open"):
        load(folder / "tallygate.toml", {"PASSPHRASE": "open says me"})


@pytest.mark.parametrize(
    ("wallet", "complaint"),
    [
        ('keystore_file = "wallet"', "without its passphrase"),
        ('passphrase_env = "PASSPHRASE"', "opens nothing"),
        ('keystore_file = "wallet", key_env = "WALLET", passphrase_env = "PASSPHRASE"', "only one can count"),
        ('keystore_file = "wallet", passphrase_env = "GONE"', "GONE, which is not set"),
        ('keystore_file = "wallet", passphrase_env = "PASSPHRASE"', "does not open"),
    ],
)
def test_what_is_wrong_with_a_keystore_is_told(folder: Path, wallet: str, complaint: str) -> None:
    """A keystore without a passphrase, with another key beside it, or that is none, is a problem that says so."""
    text = (folder / "tallygate.toml").read_text()
    (folder / "tallygate.toml").write_text(text.replace('key_file = "wallet"', wallet))

    with pytest.raises(ConfigError) as caught:
        load(folder / "tallygate.toml", {"PASSPHRASE": "open sesame", "WALLET": WALLET})

    assert complaint in str(caught.value)
    assert WALLET not in str(caught.value)
    assert "open sesame" not in str(caught.value)


def test_the_variables_of_secrets_are_named() -> None:
    """Settings name every variable that a secret came from, and the admin key's own in any case."""
    text = f'[admin]\nkey_env = "OPERATOR"\n{GONKA}{OPENAI}api_key_env = "API_KEY"\n'

    assert settings_of(text).secret_env_names == {"OPERATOR", "TALLYGATE_ADMIN_KEY", "WALLET", "API_KEY"}
    assert settings_of(OPENAI).secret_env_names == {"TALLYGATE_ADMIN_KEY"}


METRICS = '[metrics]\nkey_env = "METRICS"\n' + OPENAI


def test_the_figures_have_a_key_of_their_own() -> None:
    """The metrics' key is read from its variable, as long as the admin key must be; only a gateway needs it."""
    settings = settings_of(METRICS, {"METRICS": "k" * 16})

    assert settings.metrics.key == Secret("k" * 16)
    assert "METRICS" in settings.secret_env_names
    assert settings_of(OPENAI).metrics == MetricsSettings("admin", None)
    assert [problem.path for problem in problems_of(METRICS, {"METRICS": "k" * 15})] == ["metrics.key_env"]
    assert [problem.path for problem in problems_of(METRICS, {})] == ["metrics.key_env"]


@pytest.mark.parametrize("environ", [{}, {"TALLYGATE_ADMIN_KEY": ""}, {"TALLYGATE_ADMIN_KEY": " \n"}])
def test_a_gateway_may_be_without_an_admin_key(environ: dict[str, str]) -> None:
    """An admin key that is not set is none, and no problem."""
    assert settings_of(OPENAI, environ).admin.key is None
    assert settings_of('[admin]\nkey_env = "TALLYGATE_ADMIN_KEY"\n' + OPENAI, environ).admin.key is None


@pytest.mark.parametrize(
    "key", ["short", "fifteen-letters", "sixteen letters!", "ünlesbar-ünlesbar", "sixteen\rletters"]
)
def test_a_weak_or_unsendable_admin_key_is_refused(key: str) -> None:
    """An admin key has at least 16 characters, all of which a header can hold."""
    (problem,) = problems_of(OPENAI, {"TALLYGATE_ADMIN_KEY": key})

    assert problem.path == "admin.key_env"
    assert "TALLYGATE_ADMIN_KEY" in problem.message
    assert key not in str(problem)


@pytest.mark.parametrize("environ", [{}, {"API_KEY": ""}, {"API_KEY": "  "}])
def test_a_variable_that_is_not_set_is_named(environ: dict[str, str]) -> None:
    """A variable that is missing or empty is a problem that names it."""
    (problem,) = problems_of(OPENAI + 'api_key_env = "API_KEY"\n', environ)

    assert (problem.path, problem.line) == ("upstreams[0].api_key_env", 5)
    assert "environment variable API_KEY" in problem.message


def test_a_bearer_key_cannot_break_out_of_its_header() -> None:
    """A Bearer key with a line break inside is refused."""
    (problem,) = problems_of(OPENAI + 'api_key_env = "API_KEY"\n', {"API_KEY": "obk-1\r\nHost: elsewhere"})

    assert "elsewhere" not in str(problem)


# --- Files ---


def open_to_the_group(path: Path) -> None:
    """Let the group read a secret."""
    path.chmod(0o640)


def open_to_all(path: Path) -> None:
    """Let everybody write a secret."""
    path.chmod(0o602)


def replace_by_folder(path: Path) -> None:
    """Put a folder in the secret's place."""
    path.unlink()
    path.mkdir(mode=0o700)


def replace_by_pipe(path: Path) -> None:
    """Put a named pipe in the secret's place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path, 0o600)


def empty(path: Path) -> None:
    """Take the secret out of its file."""
    path.write_text(" \n")


def fill(path: Path) -> None:
    """Name a large file by mistake."""
    path.write_bytes(b"a" * (FILE_BYTES_MAX + 1))


def scramble(path: Path) -> None:
    """Name a binary file by mistake."""
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("name", ["wallet", "admin", "api"])
@pytest.mark.parametrize(
    ("spoil", "complaint", "remedy"),
    [
        (Path.unlink, "does not exist", "Make it"),
        (open_to_the_group, "can be read by others", "chmod 600"),
        (open_to_all, "can be read by others", "chmod 600"),
        (replace_by_folder, "is not a regular file", "Name a file"),
        (replace_by_pipe, "is not a regular file", "Name a file"),
        (empty, "is empty", "one line"),
        (fill, "does not hold a key", "one line"),
        (scramble, "does not hold a key", "one line"),
    ],
)
def test_a_file_that_is_not_safe_is_refused(
    spoil: Callable[[Path], None], complaint: str, remedy: str, name: str, folder: Path
) -> None:
    """A secret's file is regular, its owner's alone, and holds a line of text; else the problem names the file."""
    spoil(folder / name)

    with pytest.raises(ConfigError) as caught:
        load(folder / "tallygate.toml", {})

    (problem,) = caught.value.problems
    assert f"names {folder / name}, which {complaint}." in problem.message
    assert remedy in problem.remedy
    assert "chmod" not in problem.remedy or str(folder / name) in problem.remedy
    assert problem.line is not None


def test_a_file_may_be_reached_by_a_link(folder: Path) -> None:
    """A symbolic link is followed, as container platforms mount secrets by one."""
    (folder / "link").symlink_to(folder / "api")

    assert read_secret_file(folder / "link").strip() == API_KEY


def test_a_file_that_cannot_be_opened_is_refused(folder: Path) -> None:
    """Whatever the system says against opening a file ends as our own error."""
    with pytest.raises(UnusableFileError):
        read_secret_file(folder / "api" / "not-a-folder")
    with pytest.raises(UnusableFileError):
        read_secret_file(folder / ("x" * 1000))


# --- Nothing leaks ---

PASTED = [
    f'{OPENAI}api_key_env = "{API_KEY}"',
    f'{OPENAI}api_key_file = "{"sk" + WALLET}"',
    f'{OPENAI}api_key = "{API_KEY}"',
    f'{OPENAI}cost = "{API_KEY}"',
    f'{OPENAI}models = {{a = " {API_KEY} "}}',
    f'{OPENAI}models = "{API_KEY}"',
    OPENAI.replace("https://", f"https://user:{API_KEY}@"),
    OPENAI.replace("/v1", f"/v1?key={API_KEY}"),
    OPENAI.replace("https://broker.example", f"https://[{API_KEY}"),
    OPENAI.replace('"broker"', f'"{API_KEY.upper()}"'),
    OPENAI.replace('"openai"', f'"{API_KEY}"'),
    GONKA.replace('"WALLET"', f'"{WALLET}"'),
    GONKA.replace('"WALLET"', f'"{WALLET.upper().replace("7", "A")}"'),
    GONKA.replace('key_env = "WALLET"', f'key_file = "{WALLET}"'),
    GONKA.replace('key_env = "WALLET"', f'key_file = "0x{WALLET}"'),
    GONKA.replace('{key_env = "WALLET"}', f'"{WALLET}"'),
    GONKA.replace('{key_env = "WALLET"}', f'{{key = "{WALLET}"}}'),
    GONKA.replace('"WALLET"', '"API_KEY"'),
    GONKA.replace('"http://node.example:8000"', f'"{WALLET}"'),
    f'{GONKA}scheme = "{WALLET}"',
    f'[admin]\nkey_env = "{ADMIN_KEY}"\n{OPENAI}',
    f'[admin]\nlisten = "{ADMIN_KEY}"\n{OPENAI}',
    f'[store]\nurl = "postgresql://user:{ADMIN_KEY}@host"\n{OPENAI}',
]


@pytest.mark.parametrize("text", PASTED)
def test_a_secret_that_was_pasted_into_the_wrong_place_is_not_shown(text: str) -> None:
    """No problem quotes a value, so a secret in the wrong place stays where it is, also in a traceback."""
    with pytest.raises(ConfigError) as caught:
        settings_of(text, ENVIRON)

    shown = "".join(traceback.format_exception(caught.value)).lower() + repr(caught.value.problems).lower()
    for secret in (*SECRETS, WALLET.upper().replace("7", "A")):
        assert secret.lower() not in shown


def test_a_syntax_error_shows_nothing_of_the_file(tmp_path: Path) -> None:
    """A secret beside a syntax error is neither in the problem nor in what the exception carries along."""
    path = tmp_path / "tallygate.toml"
    path.write_text(f'key = "{API_KEY}" "{API_KEY}"\n')

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert API_KEY not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("error", [OSError(API_KEY), ValueError(API_KEY)])
def test_what_a_reader_says_of_a_file_is_not_repeated(error: Exception) -> None:
    """An unexpected error of the reader becomes a problem without its text."""

    def fail(path: Path) -> str:
        raise error

    with pytest.raises(ConfigError) as caught:
        parse(
            tomllib.loads(OPENAI + 'api_key_file = "k"\n'),
            environ={},
            read_secret_file=fail,
            lines=lambda _: None,
            base_dir=Path("/etc"),
        )

    (problem,) = caught.value.problems
    assert "/etc/k, which cannot be read" in problem.message
    assert API_KEY not in str(caught.value)
