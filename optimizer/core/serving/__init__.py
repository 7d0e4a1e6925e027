"""Who gets what: the assignment of a unit, champions, freezes, and what a key may do. Start at ``assignment.py``."""
