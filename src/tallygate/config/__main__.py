"""Writes `docs/configuration.md`: `python -m tallygate.config > docs/configuration.md`."""

import sys

from tallygate.config.reference import render_reference

sys.stdout.write(render_reference())
