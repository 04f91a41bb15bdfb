"""devnet's manual: whoever has nothing else finds every option, fault, field and control in it."""

import re
from pathlib import Path

from tallygate.cli.devnet import devnet
from tallygate.devnet.controls import ACCOUNT_FIELDS, CLOCK_FIELDS, NETWORK_FIELDS, SCRIPT_FIELDS, Controls
from tallygate.devnet.epochs import Phase
from tallygate.devnet.faults import FAULT_NAMES
from tallygate.devnet.inputs import ORDER_FIELDS

MANUAL = (Path(__file__).parents[2] / "docs" / "devnet.md").read_text()
CODE = " ".join(re.findall(r"```.*?```|`[^`\n]+`", MANUAL, re.DOTALL))


def missing(names: set[str]) -> list[str]:
    """Gives the names that stand nowhere in what the manual shows as code."""
    return sorted(name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", CODE))


def test_every_option_is_told() -> None:
    """Each option of the command stands there, but those that all commands have."""
    own = {name for parameter in devnet.params for name in parameter.opts} - {"--config", "--help"}
    assert missing(own) == []


def test_every_fault_and_every_field_of_one_is_told() -> None:
    """Each fault stands there by its name, and whatever shapes it."""
    assert missing(set(FAULT_NAMES)) == []
    assert missing(set(ORDER_FIELDS | SCRIPT_FIELDS)) == []


def test_every_control_is_told() -> None:
    """Each control route, each field that it takes, and each phase stands there."""
    assert missing(set(ACCOUNT_FIELDS - {"address"} | CLOCK_FIELDS | NETWORK_FIELDS | set(Phase))) == []
    routes = {path for _, path in Controls(None, [], None, "")._routes}  # type: ignore[arg-type]
    assert sorted(route for route in routes if route not in CODE) == []
