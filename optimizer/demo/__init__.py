"""``make demo``: the whole loop once, over the same commands and routes that people use; nothing is made up.

What lives here: the story (``story.py``), its users (``users.py``), the home it runs in
and the servers it starts (``place.py``) and what is printed (``screen.py``). What does not: any rule of the product.
Start reading at ``story.py``.
"""
