"""Bounds that several sections share: what lies beyond is a slip of the keyboard."""

from __future__ import annotations

from typing import Final

DAY_S: Final = 86_400
TOKENS_MAX: Final = 100_000_000
"""More tokens than any model takes or makes; bounds what a slip of the keyboard can cost."""
