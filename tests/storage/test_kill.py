"""kill -9 in the middle of commits: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw

from tallygate.storage.replay import audit_file
from tests.contract.world import RATE, USD, Machine, SqliteStore

ROUNDS = 4
CHARGE = 12_108
ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, acknowledged: int) -> list[tuple[str, str]]:
    """Let a process serve until so many acts are acknowledged, kill it, and return what it has said."""
    command = [sys.executable, "-m", "tests.storage.killed", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        said += process.stdout.readlines()
    words = [line.decode().split() for line in said if line.endswith(b"\n")]
    assert len(words) >= acknowledged
    return [(word, subject) for word, subject in words]


async def test_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """After each kill the file is clean, has all acknowledged acts, and the holds end by the rule at the next start."""
    path = tmp_path / "tallygate.db"
    said: list[tuple[str, str]] = []
    for number in range(ROUNDS):
        said += run_and_kill(path, 40 + 37 * number)
        report = audit_file(path)
        assert report.problems == []
        assert report.open_holds <= 8 * (number + 1)

    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    kept = set(
        db.execute("SELECT kind, COALESCE(inference, account) FROM entries WHERE slot IS NOT NULL OR kind = 'deposit'")
    )
    db.close()
    assert set(said) <= kept
    assert len(said) == len(set(said))

    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
    report = await ledger.audit()
    assert (report.problems, report.open_holds) == ([], 0)
    for account in ledger.accounts():
        charged = sum(1 for kind, inference in kept if kind == "settle" and inference.startswith(account.id))
        assert (account.available, account.held) == (USD - charged * CHARGE, 0)
    await machine.stop()
