"""What the pipeline reports about its items, and how it does. Start at ``record.py``; what is kept of it stands in ``core/feedback/pipeline_record.py``."""
