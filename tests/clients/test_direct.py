"""Direct access in environments with the official client of each major version, coincurve and msgspec, and no more."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings, NodeSettings, Scheme
from tallygate.direct.wallet import new_secret
from tests.clients.test_clients import ENVIRONMENTS, PATIENCE_S, PROGRAMS, QUESTION, ROOT, check_answers
from tests.direct.network import control

if TYPE_CHECKING:
    from pathlib import Path


async def run(environment: str, environ: dict[str, str], folder: Path) -> Any:
    """Return what the program saw, which finds our sources and no package that is installed here."""
    if not (ENVIRONMENTS / environment / "installed").exists():
        pytest.fail(f"this client is not installed: scripts/clients {environment}")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI", "GONKA"))}
    process = await asyncio.create_subprocess_exec(
        ENVIRONMENTS / environment / "bin" / "python",
        PROGRAMS / "direct_client.py",
        cwd=folder,
        env={**plain, **environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, err.decode()[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(("environment", "major"), [("openai", 3), ("openai-previous", 2)])
async def test_both_majors_of_the_official_client_sign(environment: str, major: int, tmp_path: Path) -> None:
    """Sync and async, streamed and not, each major version is answered by nodes, and told what to change if not."""
    schemes = (Scheme.HASH, Scheme.HASH, Scheme.DEPRECATED, Scheme.HASH)
    nodes = tuple(NodeSettings(scheme) for scheme in schemes)
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0, nodes=nodes)) as devnet:
        await control(devnet, "faults", 1, fault="503", times=None)
        await control(devnet, "faults", 3, fault="cut", times=None)
        secret = new_secret()
        devnet.chain.fund(SigningKey(secret).public_key, 10**9)
        places = [f"{node.url}/v1;{node.address}" for node in devnet.nodes]
        environ = {
            "GONKA_PRIVATE_KEY": secret.hex(),
            "GONKA_ENDPOINTS": ",".join(places[:2]),
            "GONE_ENDPOINTS": places[2],
            "CUT_ENDPOINTS": places[3],
            "MODEL": devnet.settings.models[0],
            "QUESTION": QUESTION,
        }
        seen = await run(environment, environ, tmp_path)

    assert seen["version"].startswith(f"{major}.")
    assert len(seen["texts"]) == 4
    check_answers(seen)
    gone, nowhere, cut = seen["refusals"]
    assert gone.startswith("410 ")
    assert "Bearer key" in gone
    assert nowhere.startswith("503 ")
    assert cut.startswith("cut: The node broke the answer off")
