"""The configuration: what is wrong with a file, where, and what to do about it. One bad value each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.config import ConfigError
from tests.test_config import GONKA, NODE, OPENAI, OTHER_NODE, problems_of

if TYPE_CHECKING:
    from tallygate.config import Problem

# Above a bad line: the upstream that every configuration needs, of four or five lines.
BEARER_LINES = OPENAI.count("\n")
GONKA_LINES = GONKA.count("\n")


def the_problem(text: str) -> Problem:
    """Return the only thing that is wrong with a configuration."""
    (problem,) = problems_of(text)
    return problem


@pytest.mark.parametrize(
    ("section", "line", "says"),
    [
        ("server", 'listen = "127.0.0.1"', "address and a port"),
        ("server", 'listen = ":8080"', "address and a port"),
        ("server", 'listen = "::1:8080"', "address and a port"),
        ("server", 'listen = "[::g]:8080"', "address and a port"),
        ("server", 'listen = "[host]:8080"', "address and a port"),
        ("server", 'listen = "http://127.0.0.1:8080"', "address and a port"),
        ("server", 'listen = "127.0.0.1:65536"', "address and a port"),
        ("server", 'listen = "127.0.0.1:+80"', "address and a port"),
        ("server", "listen = 8080", "is a whole number"),
        ("server", "keep_alive_s = 0", "above 0"),
        ("server", "keep_alive_s = -1", "above 0"),
        ("server", "keep_alive_s = nan", "seconds"),
        ("server", "keep_alive_s = inf", "seconds"),
        ("server", "keep_alive_s = 1e999999999", "seconds"),
        ("server", "keep_alive_s = 1e-999999999", "above 0"),
        ("server", 'drain_s = "30"', "is a text"),
        ("server", "drain_s = true", "is true or false"),
        ("server", "drain_s = -0.1", "from 0"),
        ("server", "header_timeout_s = []", "is an array"),
        ("server", "body_timeout_s = 1979-05-27", "is something else"),
        ("server", "default_temperature = 2.1", "from 0 to 2"),
        ("server", 'unknown_parameters = "drop"', '"refuse" or "pass" or "strip"'),
        ("server", 'repair = "yes"', "true or false"),
        ("server", 'default_temperature = "None"', "is a text"),
        ("server", 'log_level = "INFO"', '"info"'),
        ("admin", "listen = {}", "is a table"),
        ("admin", 'listen = "127.0.0.1:8080"', "callers connect"),
        ("admin", 'listen = "0.0.0.0:8080"', "callers connect"),
        ("store", 'url = "postgresql://user:password@host/books"', "later"),
        ("store", 'url = "mysql:books"', "sqlite:"),
        ("store", 'url = "data/tallygate.db"', "sqlite:"),
        ("store", 'url = "sqlite:///data/tallygate.db"', "sqlite:"),
        ("store", 'url = "sqlite::memory:"', "sqlite:"),
        ("store", 'url = "sqlite:"', "name of a file"),
        ("store", 'url = "sqlite:data/"', "name of a file"),
        ("store", 'url = "sqlite:data/.."', "name of a file"),
        ("store", 'url = "sqlite:~/books.db"', "not expanded"),
        ("store", 'url = "sqlite:books.pepper"', "one file"),
        ("store", 'pepper_file = "data/tallygate.db"', "one file"),
        ("store", 'pepper_file = "a\\u0000b"', "name of a file"),
        ("store", 'hold_durability = "never"', '"wait" or "async"'),
        ("store", "after_crash = false", '"void" or "charge_prompt"'),
        ("keys", 'prefix = "tg"', "3 to 16 small letters"),
        ("keys", 'prefix = "TG-"', "3 to 16 small letters"),
        ("keys", "prefix = 7", "is a whole number"),
        ("keys", 'calls_under_way = "kill"', '"finish" or "cut"'),
        ("billing", "fee_ppm = 1000001", "from 0 to 1000000"),
        ("billing", "fee_ppm = -1", "from 0 to 1000000"),
        ("billing", "fee_ppm = 0.1", "is a number"),
        ("billing", "fee_ppm = true", "is true or false"),
        ("billing", f"fee_ppm = 0x{'f' * 5000}", "from 0 to 1000000"),
        ("billing", "insufficient_balance_status = 403", "402 or 429"),
        ("billing", "insufficient_balance_status = 402.0", "402 or 429"),
        ("billing", 'short_balance = "reject"', '"refuse"'),
        ("events", 'low_balance_usd = "-1"', "negative"),
        ("events", 'low_balance_usd = "a dollar"', "plain decimal"),
        ("events", 'webhook_url = "example.com/events"', "http://"),
        ("events", 'webhook_url = "https://user:password@example.com/events"', "no user"),
        ("events", 'webhook_url = "https://example.com/events?key=1"', "query"),
        ("events", "webhook_url = 1", "is a whole number"),
        ("events", "webhook_timeout_s = 0", "above 0"),
        ("events", 'webhook_secret_env = "API_KEY"', "without webhook_url"),
        ("events", "webhook_timeout_s = 5", "without webhook_url"),
    ],
)
def test_a_bad_value_is_told_with_its_path_and_its_line(section: str, line: str, says: str) -> None:
    """A wrong value in a plain section is one problem, at that key and on that line."""
    problem = the_problem(f"{OPENAI}\n[{section}]\n{line}\n")

    assert f"{section}.{line.split(maxsplit=1)[0]}" == problem.path
    assert problem.line == BEARER_LINES + 3
    assert problem.message.startswith(problem.path)
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("line", "path", "says"),
    [
        ("priority = -1", "priority", "from 0"),
        ("weight = 0", "weight", "from 1"),
        ("max_tokens_floor = 0", "max_tokens_floor", "from 1"),
        ("bills_to_end = 1", "bills_to_end", "true or false"),
        ("flatten_content = 1", "flatten_content", "true or false"),
        ('models = "all"', "models", "is a text"),
        ("models = {}", "models", "names no model"),
        ('models = {"a b" = "x"}', 'models."a b"', "model id"),
        ('models = {"" = "x"}', 'models.""', "model id"),
        ('models = {a = ""}', "models.a", "model id"),
        ("models = {a = 1}", "models.a", "is a whole number"),
        ('models = {"A" = "x", "a" = "x"}', "models.a", "twice"),
        ('models = {"a" = "x", "A" = "x"}', "models.A", "twice"),
        ("timeouts = 5", "timeouts", "must be a table"),
        ("timeouts = {connect_s = 0}", "timeouts.connect_s", "above 0"),
        ("timeouts = {conect_s = 1}", "timeouts.conect_s", "Did you mean connect_s?"),
        ("cost = 1", "cost", "must be a table"),
        ('cost = {unit = "gnk"}', "cost.unit", '"ngonka" or "usd" or "none"'),
        ("cost = {unit = []}", "cost.unit", '"ngonka" or "usd" or "none"'),
        ("cost = {input = 1}", "cost.input", "unit"),
        ('cost = {unit = "none", usd_per_gnk = "1"}', "cost.usd_per_gnk", '"usd"'),
        ('cost = {unit = "ngonka", usd_per_gnk = "1"}', "cost.usd_per_gnk", '"usd"'),
        ('cost = {unit = "ngonka", input = 1.5}', "cost.input", "is a number"),
        ('cost = {unit = "ngonka", input = "1"}', "cost.input", "is a text"),
        ('cost = {unit = "ngonka", output = -1}', "cost.output", "from 0"),
        ('cost = {unit = "ngonka", per_attempt = 1_000_000_000_000_001}', "cost.per_attempt", "from 0"),
        ('cost = {unit = "usd", output = 1, usd_per_gnk = 1}', "cost.input", "is missing"),
        ('cost = {unit = "usd", input = 1, output = 1}', "cost.usd_per_gnk", "is missing"),
        ('cost = {unit = "usd", input = 1, output = 1, usd_per_gnk = 0}', "cost", "costs nothing"),
        ('cost = {unit = "usd", input = -1, output = 1, usd_per_gnk = 1}', "cost.input", "negative"),
        ('cost = {unit = "usd", input = 1, output = 1e-13, usd_per_gnk = 1}', "cost.output", "12 decimals"),
        ('cost = {unit = "usd", input = 1, output = nan, usd_per_gnk = 1}', "cost.output", "bounds"),
        ('cost = {unit = "usd", input = 1e999999999, output = 1, usd_per_gnk = 1}', "cost.input", "bounds"),
        ('cost = {unit = "usd", input = 1, output = 1, usd_per_gnk = 1e-12}', "cost", "1 GNK per token"),
        (
            'cost = {unit = "usd", input = 1, output = 1, per_attempt = 1_000_001, usd_per_gnk = 1}',
            "cost",
            "a million GNK per attempt",
        ),
        ('ca_file = "/"', "ca_file", "name of a file"),
        ("api_key_env = 5", "api_key_env", "is a whole number"),
        ('api_key_env = "sk-123"', "api_key_env", "environment variable"),
        ('api_key_file = "key"', "api_key_file", "/etc/tallygate/key"),
        ('wallets = [{key_env = "WALLET"}]', "wallets", 'kind = "gonka"'),
        ('scheme = "hash"', "scheme", 'kind = "gonka"'),
        ('api_key = "x"', "api_key", "Did you mean api_key_env?"),
        ("flavour = 1", "flavour", "Known here: name, kind,"),
        ('base_URL = "https://broker.example"', "base_URL", "Did you mean base_url?"),
    ],
)
def test_a_bad_value_of_an_upstream_is_told(line: str, path: str, says: str) -> None:
    """A wrong value of a Bearer upstream is one problem, at that key and on that line."""
    problem = the_problem(f"{OPENAI}{line}\n")

    assert f"upstreams[0].{path}" == problem.path
    assert problem.line == BEARER_LINES + 1
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("line", "path", "says"),
    [
        ("wallets = []", "wallets", "is empty"),
        ("wallets = [{}]", "wallets[0]", "names no key"),
        ('wallets = ["WALLET"]', "wallets[0]", "must be a table"),
        ('wallets = {key_env = "WALLET"}', "wallets", "must be an array of wallets"),
        ('wallets = [{key_env = "WALLET"}, {key_env = "GONE"}]', "wallets[1].key_env", "GONE, which is not set"),
        ('wallets = [{key_env = "WALLET", key_file = "key"}]', "wallets[0].key_file", "beside key_env"),
        ('wallets = [{key_env = "API_KEY"}]', "wallets[0].key_env", "no private key"),
        ('scheme = "sha"', "scheme", '"hash" or "raw" or "auto"'),
        ('routes = {"a b" = {}}', 'routes."a b"', "stands for an id"),
        ("routes = {a = {}, A = {}}", "routes.A", "is there twice"),
        ("routes = {a = {priority = -1}}", "routes.a.priority", "must be a whole number"),
        ("routes = {a = 1}", "routes.a", "must be a table"),
        ("nodes = []", "nodes", "is empty"),
        (f'nodes = [{{url = "http://n", adress = "{NODE}", address = "{NODE}"}}]', "nodes[0].adress", "address?"),
        (f'nodes = [{{address = "{NODE}"}}]', "nodes[0].url", "is missing"),
        ('nodes = [{url = "http://n"}]', "nodes[0].address", "is missing"),
        (f'nodes = [{{url = "http://n", address = "{NODE.upper()}"}}]', "nodes[0].address", "checksum"),
        (f'nodes = [{{url = "http://n", address = "{NODE[:-1]}"}}]', "nodes[0].address", "checksum"),
        (f'nodes = [{{url = "n", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "ftp://n", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://u:p@n", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://n?key=1", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://n:99999", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://[::1", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://n\\n", address = "{NODE}"}}]', "nodes[0].url", "base URL"),
        (f'nodes = [{{url = "http://n/v1/chat/completions", address = "{NODE}"}}]', "nodes[0].url", "one route"),
        (
            f'nodes = [{{url = "http://n", address = "{NODE}"}}, {{url = "http://n:80/v1/", address = "{NODE}"}}]',
            "nodes[1]",
            "same node as nodes[0]",
        ),
        ('base_url = "http://n"', "base_url", 'kind = "openai"'),
    ],
)
def test_a_bad_value_of_a_gonka_upstream_is_told(line: str, path: str, says: str) -> None:
    """A wrong value of a signed upstream is one problem, at that key and on that line."""
    name = line.split(maxsplit=1)[0]
    rest = "".join(row for row in GONKA.splitlines(keepends=True) if not row.startswith(f"{name} "))
    problem = the_problem(f"{rest}{line}\n")

    assert f"upstreams[0].{path}" == problem.path
    assert problem.line == rest.count("\n") + 1
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("lines", "path", "says"),
    [
        ("", "", "one of the two only"),
        ("discovery = 5", ".discovery", "must be a table"),
        ("discovery = {}", ".discovery.sources", "is missing"),
        ("discovery = {sources = []}", ".discovery.sources", "is empty"),
        ('discovery = {sources = ["http://a", "ftp://b"]}', ".discovery.sources[1]", "base URL"),
        ('discovery = {sources = ["http://a"], refresh_s = 0}', ".discovery.refresh_s", "must be seconds"),
        (
            f'nodes = [{{url = "http://n", address = "{NODE}"}}]\ndiscovery = {{sources = ["http://a"]}}',
            "",
            "one of the two",
        ),
    ],
)
def test_nodes_are_configured_or_discovered(lines: str, path: str, says: str) -> None:
    """A signed upstream has nodes, or sources to find them, and not both; a wrong source is named."""
    rest = "".join(row for row in GONKA.splitlines(keepends=True) if not row.startswith("nodes "))
    problem = the_problem(f"{rest}{lines}\n")

    assert problem.path == f"upstreams[0]{path}"
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("lines", "path", "row", "says"),
    [
        ('[models."a b"]', 'models."a b"', 1, "model id"),
        ("[models]\nm = 5", "models.m", 2, "must be a table"),
        ("models = 5", "models", 1, "must be a table"),
        ("[[models]]", "models", 1, "must be a table"),
        ("[models.m]\ncontext = 5", "models.m.context", 2, "Did you mean context_length?"),
        ("[models.m]\ncontext_length = 0", "models.m.context_length", 2, "from 1"),
        ("[models.m]\ncontext_length = 5\nmax_output_tokens = 6", "models.m.max_output_tokens", 3, "context_length"),
        ("[models.m]\ndefault_max_tokens = 4097", "models.m.default_max_tokens", 2, "max_output_tokens"),
        ("[models.m]\ntools_tokens = -1", "models.m.tools_tokens", 2, "from 0"),
        ('[models.m]\naliases = "a"', "models.m.aliases", 2, "must be an array"),
        ('[models.m]\naliases = [\n"a",\n5]', "models.m.aliases[1]", 4, "is a whole number"),
        ('[models.m]\naliases = [\n"M"]', "models.m.aliases[0]", 3, "taken by models.m:"),
        ('[models.m]\naliases = ["N"]\n[models.n]', "models.m.aliases[0]", 2, "taken by models.n:"),
        ('[models.m]\naliases = ["x"]\n[models.n]\naliases = ["X"]', "models.n.aliases[0]", 4, "taken by models.m:"),
        ("[models.m]\n[models.M]", "models.M", 2, "taken by models.m:"),
        ('[models.m]\nfeatures = ["Tools!"]', "models.m.features[0]", 2, "a feature"),
        ("[models.m]\nfree = 1", "models.m.free", 2, "true or false"),
        ("[models.m]\nfree = true\nusd_per_call = 1", "models.m.free", 2, "beside usd_per_call"),
        ("[models.m]\ninput_usd_per_1m = 1", "models.m", 1, "output_usd_per_1m"),
        ("[models.m]\noutput_usd_per_1m = 1\nusd_per_call = 1", "models.m", 1, "input_usd_per_1m"),
        ("[models.m]\nusd_per_call = 0", "models.m.usd_per_call", 2, "free = true"),
        ('[models.m]\ninput_usd_per_1m = "0"\noutput_usd_per_1m = 0.0', "models.m.input_usd_per_1m", 2, "free = true"),
        ("[models.m]\ninput_usd_per_1m = 1001\noutput_usd_per_1m = 1", "models.m.input_usd_per_1m", 2, "too high"),
        ("[models.m]\nusd_per_call = 1000.000001", "models.m.usd_per_call", 2, "too high"),
        ("[models.m]\nusd_per_call = -1", "models.m.usd_per_call", 2, "negative"),
        ('[models.m]\nusd_per_call = "1,5"', "models.m.usd_per_call", 2, "plain decimal"),
        ('[models.m]\nusd_per_call = "١"', "models.m.usd_per_call", 2, "plain decimal"),
        ("[models.m]\nusd_per_call = 1e-13", "models.m.usd_per_call", 2, "12 decimals"),
        ("[models.m]\nusd_per_call = inf", "models.m.usd_per_call", 2, "bounds"),
        ("[models.m]\nusd_per_call = 1e999999999", "models.m.usd_per_call", 2, "bounds"),
        (f"[models.m]\nusd_per_call = 0x{'f' * 5000}", "models.m.usd_per_call", 2, "bounds"),
        (
            "[models.m]\ninput_usd_per_1m = 0.0000001\noutput_usd_per_1m = 1",
            "models.m.input_usd_per_1m",
            2,
            "at most 6 decimals",
        ),
    ],
)
def test_a_bad_value_of_a_model_is_told(lines: str, path: str, row: int, says: str) -> None:
    """A wrong value of a model is one problem, at that key and on that line."""
    problem = the_problem(f"{lines}\n{OPENAI}")

    assert (path, row) == (problem.path, problem.line)
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("text", "path", "line", "says"),
    [
        ("", "upstreams", None, "is missing"),
        ("upstreams = []", "upstreams", 1, "is empty"),
        ("upstreams = 5", "upstreams", 1, "must be an array"),
        ("[upstreams]\nname = 'x'", "upstreams", 1, "must be an array"),
        ("upstreams = [\n5]", "upstreams[0]", 2, "must be a table"),
        (f"[sever]\n{OPENAI}", "sever", 1, "Did you mean server?"),
        (f"server = 5\n{OPENAI}", "server", 1, "must be a table"),
        (f"[[server]]\n{OPENAI}", "server", 1, "must be a table"),
        (OPENAI.replace('name = "broker"\n', ""), "upstreams[0].name", 1, "is missing"),
        (OPENAI.replace('"broker"', '"Broker"'), "upstreams[0].name", 2, "a-z"),
        (OPENAI.replace('"broker"', f'"{"b" * 33}"'), "upstreams[0].name", 2, "1 to 32"),
        (OPENAI + OPENAI, "upstreams[1].name", BEARER_LINES + 2, "upstreams[0]"),
        (OPENAI.replace('kind = "openai"\n', ""), "upstreams[0].kind", 1, "is missing"),
        (OPENAI.replace('"openai"', '"vllm"'), "upstreams[0].kind", 3, '"gonka" or "openai"'),
        (OPENAI.replace('"openai"', "[]"), "upstreams[0].kind", 3, '"gonka" or "openai"'),
        (OPENAI.replace('base_url = "https://broker.example/v1"\n', ""), "upstreams[0].base_url", 1, "is missing"),
        (
            f'{OPENAI}models = {{x = "y"}}\n[models.m]\naliases = ["X"]\n',
            "upstreams[0].models.x",
            BEARER_LINES + 1,
            "Write m.",
        ),
    ],
)
def test_a_bad_whole_is_told(text: str, path: str, line: int | None, says: str) -> None:
    """What is wrong with the file as a whole, or between its parts, is one problem, too."""
    problem = the_problem(text)

    assert (path, line) == (problem.path, problem.line)
    assert says in f"{problem.message} {problem.remedy}"


def test_all_problems_are_told_at_once() -> None:
    """Every problem of a file is in one error, in the order of the lines."""
    text = f"""\
[server]
listen = "nowhere"
port = 8080
[admin]
listen = 1
[billing]
fee_ppm = -1
[[upstreams]]
name = "UPPER"
kind = "gonka"
weight = 0
cost = {{unit = "usd", input = "x"}}
wallets = [{{key_env = "GONE"}}, {{}}]
nodes = [{{url = "n", address = "x"}}, {{url = "http://n", address = "{OTHER_NODE}"}}]
[[upstreams]]
[models.m]
free = 5
aliases = [1]
features = [2]
usd_per_call = "x"
default_max_tokens = 0
"""
    found = [(problem.path, problem.line) for problem in problems_of(text)]

    expected = [
        ("server.port", 3),
        ("server.listen", 2),
        ("admin.listen", 5),
        ("billing.fee_ppm", 7),
        ("upstreams[0].name", 9),
        ("upstreams[0].weight", 11),
        ("upstreams[0].cost.input", 12),
        ("upstreams[0].cost.output", 12),
        ("upstreams[0].cost.usd_per_gnk", 12),
        ("upstreams[0].wallets[0].key_env", 13),
        ("upstreams[0].wallets[1]", 13),
        ("upstreams[0].nodes[0].url", 14),
        ("upstreams[0].nodes[0].address", 14),
        ("upstreams[1].name", 15),
        ("upstreams[1].kind", 15),
        ("models.m.free", 17),
        ("models.m.aliases[0]", 18),
        ("models.m.features[0]", 19),
        ("models.m.usd_per_call", 20),
        ("models.m.default_max_tokens", 21),
    ]
    assert sorted(expected) == sorted(found)
    lines = [line for _, line in found]
    assert sorted(lines, key=lambda line: line or 0) == lines


def test_the_error_names_every_problem() -> None:
    """The text of the error is one line per problem, with its line, what is wrong, and the remedy."""
    with pytest.raises(
        ConfigError, match=r"^line 2: server\.listen must be .*\nline 3: server\.port is unknown\. "
    ) as e:
        raise ConfigError(problems_of(f"[server]\nlisten = 1\nport = 1\n{OPENAI}"))

    assert str(e.value).count("\n") == 1
