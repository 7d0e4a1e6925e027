"""Settings of the test tools that hold for every test."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.waiting"]

settings.register_profile("detent", deadline=None)  # a busy machine is slow, not wrong
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("detent")
