"""The operators' reference, `docs/configuration.md`: written from the schema, so that it cannot fall behind.

    python -m tallygate.config > docs/configuration.md

What may live here: prose, and how a section becomes a table. What may not: facts about a key, which are the schema's.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from tallygate.config.keys import ABSENT
from tallygate.config.kinds import render_toml
from tallygate.config.schema import REFERENCE
from tallygate.config.template import TEMPLATE

if TYPE_CHECKING:
    from tallygate.config.keys import Key, Section

_INTRODUCTION: Final = """\
<!-- Written by `python -m tallygate.config > docs/configuration.md`; change src/tallygate/config/ instead. -->

# Configuration

Tallygate reads one file, `tallygate.toml`: the one that `--config` names, else the one that `TALLYGATE_CONFIG` names,
else the one in the current folder. `tallygate init` writes a first one, and `tallygate check` tells everything that is
wrong with yours, with lines and remedies. Every other command that reads the file does the same before it begins, and
ends with exit code 3 if something is wrong. Names of files are relative to the folder of the configuration file.

- Nothing is ignored: an unknown table or key is a problem, and so is a value of the wrong type.
- Money is exact: write prices as texts (`"0.35"`). A number is taken as it is written, and never through binary
  floating point.
- Only `[[upstreams]]` is required. A change takes effect at the next start.
"""

_SECRETS: Final = """\
## Secrets

No secret is written into the configuration file. A key whose name ends in `_env` names an environment variable that
holds the secret; a key whose name ends in `_file` names a file that does. Of such a pair, one counts, and both
together are a problem.

- A variable has a name of capital letters, digits and `_`, and must be set and not empty. (Only the admin key's may
  be missing: the gateway then refuses every admin call.)
- A file must be a regular one, of one line of text, and no one but its owner may read it: `chmod 600`.
- Once they are read, the variables are removed from the environment of the gateway, so that no child inherits them.
- No secret is shown in a log, an error or a problem. A message names the variable or the file.

| secret | form |
| --- | --- |
| admin key | at least 16 visible ASCII characters: `openssl rand -hex 24` |
| metrics key | the same |
| wallet | a secp256k1 private key, 64 hexadecimal digits, with or without `0x` |
| Bearer key of an upstream | visible ASCII characters, as its operator gave it |
| secret of the webhook | `whsec_` and 24 to 64 bytes in base64: `echo "whsec_$(openssl rand -base64 32)"` |
| pepper | made by the gateway at its first start; API keys are hashed with it, so keep a copy |
| checkpoint key | made by the gateway at its first start; signs checkpoints of the books, so keep a copy |
"""

_RECIPES: Final = """\
## Recipes

Each one is an entry of `[[upstreams]]`. Several may stand in one file: calls go to the lowest `priority` first, and
fail over to the next before the first byte of an answer.

OpenBroker, which bills in GNK at the network's own price:

```toml
[[upstreams]]
name = "openbroker"
kind = "openai"
program = "openbroker"
base_url = "https://api.openbroker.gonka.gg/v1"
api_key_env = "OPENBROKER_API_KEY"
```

`devshardctl`, the network's own gateway program, on this machine. It finishes, and bills, what a
caller has left, which `program` says:

```toml
[[upstreams]]
name = "devshardctl"
kind = "openai"
program = "devshardctl"
base_url = "http://127.0.0.1:18080/v1"
api_key_env = "DEVSHARDCTL_API_KEY"
```

Any inference engine that speaks OpenAI's API, such as vLLM; here without a key, and with a name of its own for a model:

```toml
[[upstreams]]
name = "vllm"
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"
models = {"house/small" = "Qwen/Qwen3-0.6B"}
```

A private Gonka network, or a test network, whose nodes take signed requests:

```toml
[[upstreams]]
name = "private-network"
kind = "gonka"
wallets = [{key_env = "WALLET_KEY"}]
scheme = "hash"
nodes = [
  {url = "http://node1.example:8000", address = "gonka186gp7g350a5zp9mvag3xr8jfmhahejwlk9fmdx"},
  {url = "http://node2.example:8000", address = "gonka1pefyljpx0stgvmqs6t47vm7swct23ak7kwwxk5"},
]
```

A broker that bills in dollars, for the margin in the books:

```toml
[[upstreams]]
name = "broker"
kind = "openai"
base_url = "https://broker.example/v1"
api_key_env = "BROKER_API_KEY"
cost = {unit = "usd", input = "0.0012", output = "0.0012", usd_per_gnk = "0.62"}
```
"""


def render_reference() -> str:
    """Return the whole of `docs/configuration.md`."""
    tables = "\n".join(_render_section(section) for section in REFERENCE)
    example = f"## The whole file, with everything in it\n\n```toml\n{TEMPLATE}```\n"
    return "\n".join((_INTRODUCTION, example, _SECRETS, _RECIPES, f"## Reference\n\n{tables}"))


def _render_section(section: type[Section]) -> str:
    own = {name: key for name, key in vars(section).items() if name in section.declared()}
    rows = "".join(_render_row(name, key) for name, key in own.items())
    introduction = inspect.cleandoc(section.__doc__ or "")
    head = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    return f"### `{section.title}`\n\n{introduction}\n\n{head}{rows}"


def _render_row(name: str, key: Key[Any]) -> str:
    if key.is_required:
        default = "**required**"
    elif key.default is ABSENT:
        default = key.otherwise
    else:
        default = f"`{render_toml(key.default)}`"
    cells = (f"`{name}`", key.kind.noun, default, key.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
