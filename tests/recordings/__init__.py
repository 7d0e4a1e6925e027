"""What the product did, written down: a store with every table filled, answers of every route and reading command,
random requests to the hot routes, and the figures of the core. What is built later answers the same, byte by byte.

    make recordings        writes them anew, where behaviour was changed on purpose

``recipe.py`` builds the home; ``home.py`` keeps it, and what its acts write; ``answers.py``, ``hot_requests.py`` and
``figures.py`` write the other recordings down; ``make.py`` is the command. The files stand in ``kept/``.
"""
