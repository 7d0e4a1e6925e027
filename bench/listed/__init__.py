"""Searches of a list of instructions, replayed in memory from recorded tables, and their page."""
