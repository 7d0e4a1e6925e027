"""Settings of the test tools that hold for every test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("detent", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("detent")
