"""Fits the client to packages that call models: one module for each, named after it, which imports it. ``variant_call``
is what they share: model and settings of a variant under the names that the caller's provider knows.

What does not live here: anything that the client needs without such a package.
"""
