"""What tests and benchmarks share.

This file makes it a package: an installed library brings a folder `tests` too, and a benchmark would find that one.
"""
