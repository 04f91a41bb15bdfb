"""Tests of direct access."""
