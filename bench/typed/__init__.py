"""Draws of recorded tables, searched by the jobs that `detent study run` calls and by that command itself."""
