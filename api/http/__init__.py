"""Handles every request alike, whatever its route: connections, bodies, errors, headers. Start at ``edge.py``."""
