"""Tallygate: OpenAI-compatible in front, the Gonka Network behind, prepaid US dollars in between."""

__version__ = "0.1.0"
