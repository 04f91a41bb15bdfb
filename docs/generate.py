"""Draws the tables of the documentation from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python docs/generate.py` writes them; with `--check` it exits 1 if any is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tallygate.api.admin import GROUPS
from tallygate.api.balance import BalanceApi
from tallygate.api.estimate import EstimateApi
from tallygate.api.headers import HEADERS
from tallygate.api.identity import IdentityApi
from tallygate.api.metrics import MetricsApi
from tallygate.api.models import ModelApi
from tallygate.api.openapi import CALLERS, OPERATOR, OpenApi, asked
from tallygate.api.pages import Pages
from tallygate.api.pricing import PricingApi
from tallygate.api.problems import PROBLEMS, Problems
from tallygate.api.proofs import ProofApi
from tallygate.api.public import PublicApi
from tallygate.api.usage import UsageApi
from tallygate.cli import program
from tallygate.core import retry
from tallygate.core.completions import PARAMETERS as COMPLETION_PARAMETERS
from tallygate.core.inference import TABLE
from tallygate.core.openai import PARAMETERS
from tallygate.core.retry import Failure, judge_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tallygate.api.http import Route

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "ARCHITECTURE.md", ROOT / "docs" / "contract.md")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def inference() -> str:
    """The life of a call."""
    rows = (
        (state.name, event.value, "" if after.state is state else after.state.name, after.money.value, after.caller)
        for (state, event), after in TABLE.items()
    )
    return table(("a call that is", "what happens", "becomes", "the money", "the caller sees"), rows)


def retries() -> str:
    """The retry table."""
    samples: tuple[tuple[str, Failure], ...] = (
        ("cannot be reached", retry.UNREACHED),
        ("all our connections to it are busy", retry.BUSY),
        ("reset on a reused connection, no byte came", retry.LOST_ON_REUSE),
        ("connection lost before the first byte", retry.LOST),
        ("no first byte in time", retry.SILENT),
        *_statuses(),
    )
    rows = (
        (name, failure.retry.value, "yes" if failure.charged else "no", f"`{failure.code.value}`")
        for name, failure in samples
    )
    return table(("what happens", "tried again", "may have cost", "else the caller is told"), rows)


def _statuses() -> Iterator[tuple[str, Failure]]:
    for status, body, what in (
        (400, b'{"error":"signature is too old"}', "400 signature is too old, or in the future"),
        (400, b'{"error":"bad"}', "400 for the body"),
        (401, b"", "401"),
        (402, b"", "402"),
        (403, b'{"error":"Transfer Agent not allowed"}', "403 Transfer Agent not allowed"),
        (404, b"", "404"),
        (409, b'{"error":"finalizing"}', "409 while an escrow is settled"),
        (410, b"", "410 (the node is out for good)"),
        (413, b"", "413"),
        (422, b"", "422"),
        (429, b"", "429"),
        (500, b'{"error":"rpc error: code = NotFound desc = account not found"}', "500 rpc error … NotFound"),
        (500, b"", "500"),
        (502, b"", "502"),
        (503, b"", "503"),
        (308, b"", "any redirect (never followed)"),
    ):
        yield what, judge_status(status, {}, body, signed=True)


def errors() -> str:
    """Every code with its status and type, what it means, and what to do."""
    heads = ("status", "type", "code", "what it means", "what to do", "`x-should-retry`")
    rows = (
        (
            str(problem.status),
            f"`{problem.type}`",
            f"`{code.value}`",
            problem.message,
            problem.advice,
            "" if problem.retry is None else f"`{str(problem.retry).lower()}`",
        )
        for code, problem in PROBLEMS.items()
    )
    return table(heads, rows)


def parameters() -> str:
    """The parameters of a call."""
    return table(("parameter", "what it may be"), ((f"`{name}`", words) for name, words in PARAMETERS.items()))


def completion_parameters() -> str:
    """The parameters of a legacy completion."""
    rows = ((f"`{name}`", words) for name, words in COMPLETION_PARAMETERS.items())
    return table(("parameter", "what it may be"), rows)


def headers() -> str:
    """The headers of answers."""
    rows = ((f"`{name}`", header.where, header.what) for name, header in HEADERS.items())
    return table(("header", "where", "what"), rows)


def public_routes() -> str:
    """The callers' routes."""
    return _list_routes(_public())


def admin_routes() -> str:
    """The operator's routes."""
    return _list_routes(_admin())


def members() -> str:
    """The members of the operator's requests."""
    taken = {name: [r for r in _admin() if name in r.fields] for r in _admin() for name in r.fields}
    rows = ((f"`{name}`", asked.MEMBERS[name]["description"], _name_routes(taken[name])) for name in sorted(taken))
    return table(("member", "what it may be", "where"), rows)


def queries() -> str:
    """The parameters of queries."""
    routes = [*_public(), *_admin()]
    taken = {name: [r for r in routes if name in r.query] for r in routes for name in r.query}
    rows = ((f"`{name}`", asked.QUERY[name]["description"], _name_routes(taken[name])) for name in sorted(taken))
    return table(("parameter", "what it may be", "where"), rows)


def _public() -> list[Route]:
    apis = (PublicApi, ModelApi, EstimateApi, PricingApi, BalanceApi, IdentityApi, UsageApi, ProofApi, Pages)
    return [*_routes(apis), *OpenApi([], CALLERS, Problems()).routes()]


def _admin() -> list[Route]:
    return [*_routes((*GROUPS, MetricsApi)), *OpenApi([], OPERATOR, Problems()).routes()]


def _routes(apis: Iterable[Any]) -> Iterator[Route]:
    for api in apis:
        yield from api.__new__(api).routes()


def _list_routes(routes: Iterable[Route]) -> str:
    return table(("", "route", ""), ((r.method, f"`{r.path}`", r.summary) for r in routes))


def _name_routes(routes: Iterable[Route]) -> str:
    return ", ".join(f"`{route.method} {route.path.removeprefix('/admin/v1')}`" for route in routes)


def commands() -> str:
    """The command line."""
    return table(("command", ""), _commands(program, ""))


def _commands(group: click.Command, prefix: str) -> Iterator[tuple[str, str]]:
    assert isinstance(group, click.Group)
    for name in sorted(group.list_commands(click.Context(group))):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            context = click.Context(command)
            arguments = [p.make_metavar(context) for p in command.params if p.param_type_name == "argument"]
            yield f"`{' '.join([prefix + name, *arguments])}`", command.get_short_help_str(100)


SECTIONS: dict[str, Callable[[], str]] = {
    "inference": inference,
    "retry": retries,
    "parameters": parameters,
    "completion parameters": completion_parameters,
    "headers": headers,
    "members": members,
    "queries": queries,
    "errors": errors,
    "public routes": public_routes,
    "admin routes": admin_routes,
    "commands": commands,
}


def drawn(text: str) -> str:
    """Return a page's text with its tables drawn anew."""

    def draw(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{SECTIONS[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- generated: ([\w ]+) -->\n(?:.*?\n)??<!-- end -->", draw, text, flags=re.DOTALL)


def stale_pages() -> list[Path]:
    """Return the pages whose tables are not what the code says."""
    return [page for page in PAGES if drawn(page.read_text()) != page.read_text()]


if __name__ == "__main__":
    stale = stale_pages()
    if "--check" in sys.argv:
        sys.exit("\n".join(f"stale: {page.relative_to(ROOT)}; run python docs/generate.py" for page in stale) or 0)
    for page in stale:
        page.write_text(drawn(page.read_text()))
