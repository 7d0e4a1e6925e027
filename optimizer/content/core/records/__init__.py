"""What the pipeline reports about its items, and how it does. Start at ``record.py``.

The values that the store keeps of a report stand in ``optimizer/core/feedback/pipeline_record.py``.
"""
