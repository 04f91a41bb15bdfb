"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# An example may take its time on a busy machine; how long says nothing about whether it is right.
settings.register_profile("tallygate", deadline=None)
settings.load_profile("tallygate")
