"""Searches of a list of instructions, answered from recorded tables: replays.py in memory, studies.py by command."""
