"""What people see of studies, rollouts and Variants, as values; pages and terminals only lay it out.

Start at ``rollout_status.py`` and ``study_story.py``.
"""
