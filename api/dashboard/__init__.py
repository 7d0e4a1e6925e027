"""What lives here: the pages under /dashboard, where people look and act.

What does not: figures and rules. A page asks use cases of the list (``optimizer/runtime/use_cases.py``) with the role
of who opens it, and its template shows what they answer; an act is a form that asks the use case its API route asks.
Start reading at ``routes.py``; ``visitors.py`` says who may open a page.
"""
