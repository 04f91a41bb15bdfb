"""The `llm` command with an OpenAI-compatible model."""

import json
import os
import subprocess
import sys
from pathlib import Path

home = Path(os.environ["LLM_USER_PATH"])
model = {
    "model_id": "tallygate",
    "model_name": os.environ["MODEL"],
    "api_base": os.environ["TALLYGATE_BASE_URL"],
    "api_key_name": "tallygate",
    "supports_schema": True,
}
(home / "extra-openai-models.yaml").write_text(json.dumps([model]))
(home / "keys.json").write_text(json.dumps({"tallygate": os.environ["TALLYGATE_API_KEY"]}))


def ask(*options: str) -> str:
    """Return what the command prints."""
    command = [str(Path(sys.executable).parent / "llm"), "-m", "tallygate", *options, os.environ["QUESTION"]]
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()


parsed = json.loads(ask("--schema", "title, score int, tags", "--no-stream"))
print(json.dumps({"texts": [ask(), ask("--no-stream")], "parsed": parsed}))
