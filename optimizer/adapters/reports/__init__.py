"""Studies and rollouts as HTML pages that work without a network. Start at ``study_report.py``."""
