"""The formats of ``detent variant export``, one a module, declared by ``@exporter`` of ``export_variant.py``.

A module that is put here is found; it imports nothing heavy at its top. Start at ``messages.py``.
"""
