"""Settings of the test tools that hold for every test."""

from __future__ import annotations

import functools
import os

import httpx
from hypothesis import settings

from tests.examples import USUAL

# A process per core has no use for more threads each: scikit-learn's would spin and wait for one another. Read when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every client reads the machine's certificates anew, which costs 35 ms of CPU; hundreds of tests have clients of their own.
httpx._transports.default.create_ssl_context = functools.cache(httpx._transports.default.create_ssl_context)

pytest_plugins = ["tests.waiting", "tests.mlflow_store"]

# Half of Hypothesis's own hundred, for the sake of ten minutes; no deadline, since a busy machine is slow, not wrong.
settings.register_profile("detent", deadline=None, max_examples=USUAL)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("detent")
