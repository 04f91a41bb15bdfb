"""What must be found nowhere: secrets and callers' texts, in logs, files, arguments and the processes around."""

import base64
import signal
from pathlib import Path

from tests.gateway.processes import ADMIN_KEY, BEARER_KEY, WALLET_HEX, Gateway, Installation, installed, served
from tests.relay.world import MODEL

CANARY = "canary-that-sings-of-nothing"


async def sing(installation: Installation, gateway: Gateway) -> None:
    """Make calls of every outcome with the canary in every place that a caller can fill."""
    messages = [{"role": "user", "content": CANARY}]
    for stream in (False, True):
        assert (await gateway.chat(messages=messages, stream=stream, user=CANARY)).status == 200
        assert (await gateway.chat(messages=messages, stream=stream, **{CANARY: 1})).status == 400
        assert (await gateway.chat(messages=messages, stream=stream, model=CANARY)).status == 404
        rejection = f"Inference node response with an error: {CANARY}"
        for fault, fields in (
            ("400", {"message": rejection}),
            ("422", {"message": rejection}),
            ("500", {"message": CANARY}),
            ("503", {"message": CANARY}),
            ("429", {"message": CANARY}),
            ("401", {"message": CANARY}),
            ("404", {"message": CANARY}),
            ("cut", {"after_frames": 5}),
            ("garbage", {}),
            ("error_event", {}),
            ("wrong_usage", {"usage": {"prompt_tokens": CANARY, CANARY: 1}}),
        ):
            installation.order(fault, **fields)
            await gateway.chat(messages=messages, stream=stream, stop=[CANARY])
            installation.clear_faults()
    secret, installation.secret = installation.secret, f"tg-{CANARY}"
    assert (await gateway.chat(messages=messages)).status == 401
    installation.secret = secret
    caller = await gateway.send(messages=messages, stream=True)
    caller.leave()


def look_at(pid: int) -> tuple[bytes, list[list[str]]]:
    """Return a process's arguments, and the children of each of its threads."""
    process = Path(f"/proc/{pid}")
    children = [task.read_text().split() for task in process.glob("task/*/children")]
    return (process / "cmdline").read_bytes(), children


async def test_nothing_that_is_secret_is_left_anywhere(tmp_path: Path) -> None:
    """No key and no caller's text is in a log line, a byte of the store, an argument, or a child's environment."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        await sing(installation, gateway)
        arguments, children = look_at(gateway.process.pid)
        pepper = (tmp_path / "data" / "tallygate.pepper").read_text().strip()
        assert await gateway.end(signal.SIGTERM) == 0

        wallet = bytes.fromhex(WALLET_HEX)
        forbidden = {
            "the wallet's key": WALLET_HEX.encode(),
            "the wallet's key in bytes": wallet,
            "the wallet's key in base64": base64.b64encode(wallet),
            "the admin key": ADMIN_KEY.encode(),
            "the Bearer key": BEARER_KEY.encode(),
            "the API key": installation.secret.encode(),
            "the API key's random part": installation.secret[3:-6].encode(),
            "the pepper": pepper.encode(),
            "the pepper in bytes": bytes.fromhex(pepper),
            "a caller's text": CANARY.encode(),
        }
        files = installation.read_store()
        found = [
            (what, where)
            for where, data in {"log": gateway.log, "arguments": arguments, **files}.items()
            for what, secret in forbidden.items()
            if secret in data
        ]
        assert found == []
        assert not any(children)
        assert gateway.log.count(b'"inference ended"') > 10
        assert b"defect" not in gateway.log
        assert b"Traceback" not in gateway.log


async def test_every_request_can_be_found_in_the_log(tmp_path: Path) -> None:
    """The id that a caller was given is in the log, with the inference and what it cost, but not who said what."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        answer = await gateway.chat()
        await gateway.end(signal.SIGTERM)

        (line,) = [line for line in gateway.log.splitlines() if b"inference ended" in line]
        assert answer.headers["x-request-id"].encode() in line
        assert answer.headers["x-inference-id"].encode() in line
        assert answer.usage["total_cost_usd_exact"].encode() in line
        assert MODEL.encode() in line
