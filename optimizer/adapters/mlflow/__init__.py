"""The mirror of studies, prompts and rollouts in MLflow. The store is the truth. Start at ``tracking.py``."""
