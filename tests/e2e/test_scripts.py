"""The scripts, as far as they can be tried without installing anything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]


@pytest.fixture
def bare_tree(tmp_path: Path) -> Path:
    """Return a tree with nothing installed, and a folder for programs that come first on the path."""
    (tmp_path / "programs").mkdir()
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def install(tree: Path, which: str) -> subprocess.CompletedProcess[str]:
    """Run a tree's `scripts/install` from somewhere else."""
    environ = {"PATH": f"{tree / 'programs'}:{os.environ['PATH']}"}
    command = [str(tree / "scripts" / "install"), which]
    return subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=False)


def put_program(tree: Path, name: str, text: str) -> None:
    """Put a program first on the path."""
    program = tree / "programs" / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_script_is_plain_sh_and_can_be_run(script: Path) -> None:
    """A script is executable, asks for no shell but `sh`, and parses as such."""
    assert script.read_text().startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_install_knows_what_can_be_installed(bare_tree: Path) -> None:
    """Anything but the three sets is bad usage."""
    refused = install(bare_tree, "everything")

    assert refused.returncode == 2
    assert "server|direct|demo|dev" in refused.stderr


def test_install_says_which_python_is_needed(bare_tree: Path) -> None:
    """Without Python 3.11 it says so and what to install, and makes nothing."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        put_program(bare_tree, name, "exit 1")
    refused = install(bare_tree, "demo")

    assert refused.returncode == 1
    assert "3.11 or newer" in refused.stderr
    assert not (bare_tree / ".venv").exists()


def test_install_says_that_venv_is_missing(bare_tree: Path) -> None:
    """With a Python that cannot make environments, as on a bare Debian, it names the package that is missing."""
    put_program(bare_tree, "python3", 'case "$2" in *ensurepip*) exit 1 ;; *) exit 0 ;; esac')
    refused = install(bare_tree, "demo")

    assert refused.returncode == 1
    assert "apt install python3-venv" in refused.stderr
    assert not (bare_tree / ".venv").exists()
