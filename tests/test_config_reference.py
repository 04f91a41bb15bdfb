"""The reference and the template: what operators read says what the code does."""

from __future__ import annotations

import re
import runpy
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tallygate.config import TEMPLATE, GonkaAccess, load, parse
from tallygate.config.keys import ABSENT
from tallygate.config.lines import LineFinder
from tallygate.config.reference import render_reference
from tallygate.config.schema import REFERENCE, Root
from tests.test_config import settings_of

if TYPE_CHECKING:
    from tallygate.config import Settings
    from tallygate.config.keys import Section

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"
ENVIRON = {
    "TALLYGATE_ADMIN_KEY": "an-admin-key-of-24-chars",
    "METRICS_KEY": "a-metrics-key-of-24-char",
    "OPENBROKER_API_KEY": "obk-1",
    "DEVSHARDCTL_API_KEY": "sk-1",
    "BROKER_API_KEY": "br-1",
    "WALLET_KEY": "11" * 32,
    "WEBHOOK_SECRET": "whsec_" + "MTEx" * 8,
}


def settings_with_files(text: str) -> Settings:
    """Return what a configuration comes to where every file holds a wallet's key."""
    return parse(
        tomllib.loads(text, parse_float=Decimal),
        environ=ENVIRON,
        read_secret_file=lambda _: "22" * 32,
        lines=LineFinder(text),
        base_dir=Path("/etc/tallygate"),
    )


def test_the_document_is_what_the_code_says() -> None:
    """`docs/configuration.md` is up to date; else: python -m tallygate.config > docs/configuration.md."""
    assert render_reference() == DOCUMENT.read_text(encoding="utf-8")


def test_the_document_is_written_by_running_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m tallygate.config` prints the document."""
    runpy.run_module("tallygate.config", run_name="__main__")

    assert render_reference() == capsys.readouterr().out


@pytest.mark.parametrize("section", REFERENCE)
def test_the_reference_has_every_key(section: type[Section]) -> None:
    """Each section has a heading, and a row for every key of its own, with its meaning."""
    _, _, part = render_reference().partition(f"### `{section.title}`\n")
    part = part.partition("\n### ")[0]

    own = [key for name, key in section.declared().items() if name in vars(section)]
    assert own
    for key in own:
        assert re.search(rf"^\| `{key.name}` \| .+ \| .* \| {re.escape(key.meaning)} \|$", part, re.MULTILINE)


def test_the_reference_has_every_section() -> None:
    """Whatever stands at the top of the file, or in an upstream, has a section in the reference."""
    titles = " ".join(section.title for section in REFERENCE)

    for name in [*Root.declared(), "wallets", "nodes", "cost", "timeouts"]:
        assert name in titles


@pytest.mark.parametrize("section", [Root, *REFERENCE])
def test_every_default_is_a_value_that_could_be_written(section: type[Section]) -> None:
    """A default passes the check of its own key."""
    for key in section.declared().values():
        if key.default is not ABSENT:
            key.read_default()


def test_the_template_is_valid_once_its_variables_are_set(tmp_path: Path) -> None:
    """What `tallygate init` writes is right as soon as the variables that it names are set."""
    path = tmp_path / "tallygate.toml"
    path.write_text(TEMPLATE, encoding="utf-8")

    settings = load(path, {name: ENVIRON[name] for name in ("TALLYGATE_ADMIN_KEY", "OPENBROKER_API_KEY")})

    assert [upstream.name for upstream in settings.upstreams] == ["openbroker"]
    assert [model.price is not None for model in settings.models] == [True]


def test_what_the_template_comments_out_is_valid_too() -> None:
    """Every optional line of the template can be put in force."""
    lines = [
        line
        for line in TEMPLATE.splitlines()
        if not re.match(r"#((api_)?key|webhook_secret)_file|#.*keystore_file", line)
    ]
    text = "\n".join(re.sub(r"^#(?=[a-z\[])", "", line) for line in lines)

    settings = settings_with_files(text)

    assert [upstream.name for upstream in settings.upstreams] == [
        "openbroker",
        "another-broker",
        "private-network",
        "discovered",
    ]
    gonka = settings.upstreams[2].access
    assert isinstance(gonka, GonkaAccess)
    assert len(gonka.wallets) == 2
    assert settings.events.low_balance_picousd == 10**12
    assert settings.events.webhook is not None
    assert settings.models[1].price is not None
    assert settings.models[1].price.free


def test_what_the_template_comments_out_are_the_defaults() -> None:
    """A commented line of a plain section shows the default, and so changes nothing when it is put in force."""
    names = r"keep_alive_s|calls_max|(left_)?drain_s|(header|body)_timeout_s|default_temp\w+|log_level"
    names += r"|hold_\w+"
    names += "|(pepper|checkpoint_key|anchors)_file|after_crash|ins|sh|key =|account ="
    pattern = rf"^#(?=({names}))"
    uncommented = re.sub(pattern, "", TEMPLATE, flags=re.MULTILINE)
    plain, changed = settings_with_files(TEMPLATE), settings_with_files(uncommented)

    assert uncommented.count("\n#") == TEMPLATE.count("\n#") - 17
    assert (plain.server, plain.store, plain.billing) == (changed.server, changed.store, changed.billing)
    assert plain.limits == changed.limits


@pytest.mark.parametrize("section", REFERENCE)
def test_the_template_has_every_key(section: type[Section]) -> None:
    """Whatever can be said is in the template, in force or commented out."""
    for name in section.declared():
        assert re.search(rf"(^#?|[{{ ]){name} = ", TEMPLATE, re.MULTILINE), name


def test_every_recipe_is_valid() -> None:
    """Each piece of TOML in the document is right, as a file of its own and all recipes in one."""
    recipes = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

    assert recipes[0] == TEMPLATE
    assert len(recipes) == 6
    for recipe in recipes:
        settings_of(recipe, ENVIRON)
    assert len(settings_of("".join(recipes[1:]), ENVIRON).upstreams) == 5


def test_the_recipes_for_the_network_say_what_they_are_about() -> None:
    """The document reaches OpenBroker, devshardctl, an engine and a private network, as they are reached today."""
    document = DOCUMENT.read_text(encoding="utf-8")

    for place in ("https://api.openbroker.gonka.gg/v1", "http://127.0.0.1:18080/v1", "vLLM", 'kind = "gonka"'):
        assert place in document
