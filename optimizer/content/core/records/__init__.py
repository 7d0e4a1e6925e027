"""What the pipeline reports about its items, and how good it is. Start at ``record.py``.

``optimizer/core/feedback/pipeline_record.py`` has the values that the store keeps of a report.
"""
