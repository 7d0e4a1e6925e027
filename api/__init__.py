"""The HTTP edges: the api process (``app.py``: prompts, events, operators) and the gateway (``gateway/``: model calls).

A route parses, calls one job, and shapes the answer: rules and decisions live in ``optimizer.core``, writing in
``optimizer.jobs``. Start reading at ``app.py``, then ``routing.py`` (what holds before any route's code) and
``serving.py`` (what is served, in memory).
"""
