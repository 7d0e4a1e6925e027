"""Files of people and of the installation: families, sheets, secrets, the spool. Start at ``family_files.py``."""
