"""What callers write is found nowhere: canaries in every text, through every outcome, then looked for everywhere."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

from tests.gateway.canary import Canaries, fill_body
from tests.gateway.processes import ADMIN_KEY, Gateway, Installation, installed, served, until_logged
from tests.relay.caller import Answer, Caller
from tests.relay.world import MODEL

if TYPE_CHECKING:
    from pathlib import Path

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("400", {}),
    ("422", {}),
    ("401", {}),
    ("404", {}),
    ("429", {}),
    ("500", {}),
    ("503", {}),
    ("refuse", {}),
    ("hang_up", {}),
    ("garbage", {}),
    ("truncate", {}),
    ("cut", {"after_frames": 3}),
    ("error_event", {"after_frames": 2}),
)
MESSAGE = re.compile(rb'"error":\{"message":("(?:[^"\\]|\\.)*")')
ADMIN_PATHS = ("accounts", "keys", "prices", "upstreams", "events")


class Choir:
    """A caller who has a canary for everything, and keeps every error that comes back."""

    def __init__(self, installation: Installation, gateway: Gateway, canaries: Canaries) -> None:
        self.installation = installation
        self.gateway = gateway
        self.canaries = canaries
        self.errors: list[tuple[bytes, tuple[str, ...]]] = []
        self.statuses: list[int] = []
        self.messages: set[str] = set()

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, told: tuple[str, ...] = (), **headers: str
    ) -> Answer:
        """Send a request with canaries in its headers; `told` are those that its error may name."""
        sing = self.canaries
        caller = await Caller.open(self.gateway.port)
        sent = {
            "authorization": f"Bearer {self.installation.secret}",
            "content-type": "application/json",
            "user-agent": sing["useragent"],
            "referer": f"https://{sing['referer']}/",
            "cookie": f"a={sing['cookie']}",
            "x-request-id": sing["requestid"],
            f"x-{sing['headername']}": sing["headervalue"],
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        await caller.request(method, path, sent, body)
        answer = await caller.answer()
        await caller.close()
        self.statuses.append(answer.status)
        self.messages |= {json.loads(text) for text in MESSAGE.findall(answer.body)}
        if answer.status >= 400:
            self.errors.append((str(sorted(answer.headers.items())).encode() + answer.body, told))
        return answer

    async def chat(self, *, told: tuple[str, ...] = (), key: str | None = None, **fields: Any) -> Answer:
        """Send a chat request."""
        headers = {} if key is None else {"idempotency_key": key}
        return await self.ask("POST", CHAT, fill_body(self.canaries, **fields), told=told, **headers)

    async def complete(self, *, told: tuple[str, ...] = (), **fields: Any) -> Answer:
        """Send a legacy completion."""
        body = json.dumps({"model": MODEL, "max_tokens": 5, **fields}).encode()
        return await self.ask(
            "POST", COMPLETIONS, self.canaries.watch(f"completion {len(self.statuses)}", body), told=told
        )


async def sing_well(choir: Choir) -> None:
    """Make calls that succeed, in every form, and look at what they came to."""
    sing = choir.canaries
    for stream in (False, True):
        key = sing[f"idempotency{stream}"]
        answer = await choir.chat(stream=stream, key=key)
        assert answer.status == 200, answer
        assert (await choir.chat(stream=stream, key=key)).headers["x-tallygate-replayed"] == "true"
        assert (await choir.chat(stream=stream, key=key, seed=1)).status == 422
        receipt = await choir.ask("GET", f"/v1/usage/{answer.headers['x-inference-id']}")
        assert receipt.status == 200
        assert sing.find("receipt", receipt.body) == []
    for stream in (False, True):
        prompts = [sing["legacyprompt"], f"{sing['legacyotherprompt']} in some words"]
        completed = await choir.complete(
            prompt=prompts, user=sing["legacyuser"], stop=[sing["legacystop"]], stream=stream
        )
        assert completed.status == 200, completed
    for name in ("legacyuser", "user"):
        used = await choir.ask("GET", f"/v1/usage?by=user&user={sing[name]}")
        assert used.json()["data"][0]["calls"] > 0
        assert sing.find("usage", used.body) == []
    estimated = await choir.ask("POST", "/v1/estimate", fill_body(sing))
    assert estimated.json()["accepted"]
    assert sing.find("estimate", estimated.body) == []


async def sing_wrongly(choir: Choir) -> None:
    """Be refused, with canaries in all that can be wrong."""
    sing = choir.canaries
    for path in (CHAT, "/v1/estimate"):
        for told, fields in (
            ((), {"model": sing["model"]}),
            (("fieldname",), {sing["fieldname"]: sing["fieldvalue"]}),
            (("extraname",), {"extra_body": {sing["extraname"]: sing["extravalue"]}}),
            ((), {"messages": [{"role": sing["role"], "content": sing["prompt"]}]}),
            ((), {"messages": [{"role": "user", "content": [{"type": sing["parttype"], "text": sing["part"]}]}]}),
            (("optionname",), {"stream": True, "stream_options": {sing["optionname"]: sing["optionvalue"]}}),
            ((), {"stream": sing["streamvalue"]}),
            ((), {"max_tokens": sing["maxtokens"]}),
        ):
            if path == CHAT:
                assert 400 <= (await choir.chat(told=told, **fields)).status < 500
            else:
                refused = await choir.ask("POST", path, fill_body(sing, **fields))
                assert not refused.json()["accepted"]
                choir.errors.append((refused.body, told))
        await choir.ask("POST", path, f'{{"{sing["notjson"]}'.encode())
    for told, asked in (
        ((), {"prompt": sing["legacyprompt"], "suffix": sing["suffix"]}),
        ((), {"prompt": [sing["legacyprompt"], {"a": sing["legacypart"]}]}),
        (("legacyname",), {"prompt": sing["legacyprompt"], sing["legacyname"]: sing["legacyvalue"]}),
        ((), {"prompt": sing["legacyprompt"], "model": sing["legacymodel"]}),
    ):
        assert 400 <= (await choir.complete(told=told, **asked)).status < 500
    await choir.ask("GET", f"/v1/models/{sing['modelpath']}")
    await choir.ask("GET", f"/{sing['path']}?{sing['queryname']}={sing['queryvalue']}")
    await choir.ask("GET", f"/v1/models?{sing['queryname']}={sing['queryvalue']}")
    await choir.ask("POST", CHAT, fill_body(sing), authorization=f"Bearer tg-{sing['apikey']}")
    await choir.ask("POST", CHAT, fill_body(sing), content_type=f"text/{sing['mediatype']}")
    await choir.ask("POST", CHAT, fill_body(sing), content_encoding=sing["encoding"])
    await choir.ask("POST", CHAT, fill_body(sing), idempotency_key=f"{sing['badkey']} with a space")
    for raw in (
        f"GET / HTTP/1.1\r\n{sing['rawheader']}\r\n\r\n",
        f"{sing['method'].upper()} /{sing['path']} HTTP/1.1\r\nHost: {sing['host']}\r\nConnection: close\r\n\r\n",
        f"GET /{sing['path']} HTTP/7.7\r\n\r\n",
    ):
        caller = await Caller.open(choir.gateway.port)
        await caller.send_raw(raw.encode())
        choir.errors.append((await caller.raw(), ()))
        caller.leave()


async def sing_into_the_storm(choir: Choir) -> None:
    """Make calls that upstreams fail, in their own words and in the caller's."""
    installation, sing = choir.installation, choir.canaries
    for fault, fields in FAULTS:
        for stream in (False, True):
            words = (
                {"message": f"Inference node response with an error: {sing['nodewords']}"} if fault[0] in "45" else {}
            )
            installation.order(fault, times=None, **fields, **words)
            await choir.chat(stream=stream, told=("nodewords",))
            installation.clear_faults()
    installation.order("wrong_usage", times=None, usage={"prompt_tokens": sing["usage"], sing["usagename"]: 1})
    await choir.chat()
    installation.clear_faults()


async def leave_in_the_middle(choir: Choir) -> Caller:
    """Make a call that is under way when its gateway dies, and be told so under the same key."""
    choir.installation.order("hold_stream", times=None, after_frames=2)
    body, key = fill_body(choir.canaries, stream=True), choir.canaries["dyingkey"]
    caller = await Caller.open(choir.gateway.port)
    headers = {"authorization": f"Bearer {choir.installation.secret}", "content-type": "application/json"}
    await caller.request("POST", CHAT, {**headers, "idempotency-key": key}, body)
    status, _ = await caller.head()
    assert status == 200, await caller.rest()
    await caller.frames(1)
    assert (await choir.ask("POST", CHAT, body, idempotency_key=key)).status == 409
    return caller


async def look_around(gateway: Gateway, inferences: set[str]) -> dict[str, bytes]:
    """Return all that an operator can read of a running gateway."""
    seen = {path: json.dumps(await gateway.admin("GET", path)).encode() for path in ADMIN_PATHS}
    account = (await gateway.admin("GET", "accounts"))["data"][0]["id"]
    for path in (f"accounts/{account}", *(f"receipts/{inference}" for inference in sorted(inferences)[:5])):
        seen[path] = json.dumps(await gateway.admin("GET", path)).encode()
    seen["verify"] = json.dumps(await gateway.admin("POST", "verify")).encode()
    caller = await Caller.open(gateway.admin_port)
    await caller.request("GET", "/metrics", {"authorization": f"Bearer {ADMIN_KEY}"})
    seen["metrics"] = (await caller.answer()).body
    await caller.close()
    return seen


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file that an installation has left."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_what_callers_write_is_found_nowhere(tmp_path: Path) -> None:
    """No text of a caller, and no plain hash of one, is in a log, a file, a figure, an admin answer or an error."""
    canaries = Canaries()
    logs: dict[str, bytes] = {}
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            choir = Choir(installation, gateway, canaries)
            await sing_well(choir)
            await sing_wrongly(choir)
            await sing_into_the_storm(choir)
            inferences = {entry.inference for entry in installation.entries("settle", "void") if entry.inference}
            seen = await look_around(gateway, inferences)
            running = {f"{name} while it runs": data for name, data in installation.read_store().items()}
            caller = await leave_in_the_middle(choir)
            await gateway.end(signal.SIGKILL)
            caller.leave()
            killed = {f"{name} after kill -9": data for name, data in installation.read_store().items()}
            logs["log"] = gateway.log
        installation.clear_faults()
        async with served(installation) as again:
            await until_logged(again, b"holds without an owner have expired")
            assert await again.end(signal.SIGTERM) == 0
            logs["log of the next start"] = again.log
        files = read_folder(tmp_path)

    assert canaries.find_in(logs | seen | running | killed | files) == []
    assert [finding for body, told in choir.errors for finding in canaries.find("error", body, told)] == []
    assert {200, 400, 401, 404, 415, 422, 502, 503} <= set(choir.statuses)
    assert len(choir.messages) > 20
    # What the log tells the operator has words of its own, whatever a caller was told.
    assert [message for message in choir.messages if message.encode() in b"".join(logs.values())] == []
    assert len(list(canaries.forms())) > 500
    assert len(inferences) > 10
    for figure in (f'tallygate_endings_total{{ending="settle",model="{MODEL}"}}', "tallygate_commit_seconds_count"):
        assert int(float(seen["metrics"].decode().partition(f"\n{figure} ")[2].partition("\n")[0])) > 5, figure
    assert b"\ntallygate_checkpoint_age_seconds " in seen["metrics"]
    assert b"\nprocess_open_fds " in seen["metrics"]
    assert any(name.endswith("-wal while it runs") for name in running)
