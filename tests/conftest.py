"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# An example may take its time on a busy machine, and so may making it; how long says nothing about whether it is right.
settings.register_profile("tallygate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tallygate")
