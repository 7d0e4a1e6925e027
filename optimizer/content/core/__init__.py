"""What the pipeline decides, values in, values out.

``policy/`` decides about one item, ``search/`` finds the settings by replay, ``records/`` is what the pipeline reports.
``kind.py`` answers what a family of kind policy is asked. Start at ``policy/pipeline.py``.
"""
