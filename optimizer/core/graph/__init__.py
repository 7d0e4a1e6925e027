"""A knowledge graph as JSON, the repairs that a model proposes for it, and what a person decided about them.

Not here: how well the proposals of a model are (``core/evaluation/``). Start at ``repair.py``.
"""
