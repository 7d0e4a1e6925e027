"""What holds for every request, whatever its route: connections, bodies, errors, headers. Start at ``edge.py``."""
