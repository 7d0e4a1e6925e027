"""The statistics of a rollout: outcomes of two arms in, evidence and verdicts out.

Nothing here knows a database, a clock or a family: jobs build the blocks, and do what ``stopping_rule.py`` says. Start
with ``outcomes.py`` (what one block says), then ``quality_gate.py`` (what all blocks say) and ``stopping_rule.py``
(what follows).
"""
