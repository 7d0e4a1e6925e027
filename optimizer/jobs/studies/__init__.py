"""A study from creation to nomination: start at ``create_study.py``, then ``run_study.py``."""
