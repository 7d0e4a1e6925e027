"""The pipeline's files and libraries: its YAML files, a search by Optuna, a score by scikit-learn.

Start at ``content_files.py``.
"""
