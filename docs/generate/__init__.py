"""What lives here: the reference pages that are written from the code, one module a page.

``make pages`` writes them, and ``tests/unit/project/test_docs.py`` fails where one is not what it would write. What
a page says stands in the code: in the help of a command, in the docstring of a route, a scorer or an error, in the
description of a setting. Start reading in ``__main__.py``.
"""
