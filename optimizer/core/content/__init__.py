"""The content pipeline: which items are processed in full, which lightly, and which are given up early. A product beside prompts.

``policy/`` decides about one item, ``search/`` finds the settings by replay, ``records/`` is what the pipeline reports.
"""
