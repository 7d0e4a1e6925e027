"""The rules of the product: values in, values out. Nothing here reads a file, a clock, a database or the network.

The rooms stand in the order of the story, and a lower one imports no higher one (`[tool.importlinter]` in
pyproject.toml): base, statistics, dataset, family, evaluation, models, predictor, policy, graph, feedback, search,
serving, rollout, forecast, scheduling, declaration, views. Start with ``family/family.py`` (what a user declares),
``family/variant.py`` and ``family/rendering.py``.
"""
