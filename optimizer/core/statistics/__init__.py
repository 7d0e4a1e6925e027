"""The statistics of a rollout: outcomes of two arms in, evidence and decisions out.

Sums, e-values, gates, guardrails and forecasts stand here. Nothing here knows a database, a clock or a family; jobs
build the blocks and apply what ``stopping_rule.py`` decides. Start with ``outcomes.py`` (what one block says), then
``quality_gate.py`` (what all blocks say) and ``stopping_rule.py`` (what follows).
"""
