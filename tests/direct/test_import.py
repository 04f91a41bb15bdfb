"""What the library needs to be imported: coincurve and msgspec, and nothing of the server."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """\
import importlib.abc, sys

class Bare(importlib.abc.MetaPathFinder):
    allowed = set(sys.stdlib_module_names) | {"tallygate", "coincurve", "msgspec", "_cffi_backend", "cffi"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Bare())
import tallygate.direct as direct

key = direct.SigningKey.from_hex("c0ffee254729296a45a3885639ac7e10f9d54979aa1bb7b2d9b4f6c6d1e8a001")
node = direct.Node("http://127.0.0.1:1", direct.new_wallet().address)
headers = direct.Route(key, [node]).sign(node, b"{}")
print(headers["X-Requester-Address"], *(name for name in sys.modules if name.startswith("tallygate.")))
"""


def test_the_library_needs_two_packages() -> None:
    """With no other package to be found, the library is imported and signs; of ours, it brings the core and itself."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    address, *modules = done.stdout.split()
    assert address == "gonka1f2dl0qk3qxyjak73ktwkec7ge99nusyskwldtf"
    assert {name.split(".")[1] for name in modules} == {"core", "direct", "privatefile", "wholefile"}
