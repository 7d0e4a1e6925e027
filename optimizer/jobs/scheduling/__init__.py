"""Studies that start by themselves: start at ``trigger_studies.py``."""
