"""What lives here: the HTTP edges.

The api process (``app.py``: prompts, events, operators) and the gateway process (``gateway/``: model calls). What does
not: rules and decisions (``optimizer.core``), and what is written (``optimizer.jobs``); a route parses, calls one job,
shapes the answer. Start reading at ``app.py``, then ``routing.py`` (what holds before any route's code) and
``serving.py`` (what is served, in memory).
"""
