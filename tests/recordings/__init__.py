"""What the product did, written down: a store with every table filled, answers of every route and reading command,
random requests to the hot routes, and the figures of the core. What is built later answers the same, byte by byte.

    make recordings        writes them anew, where behaviour was changed on purpose

``recipe.py`` builds the home; ``answers.py``, ``hot_requests.py`` and ``figures.py`` each write one recording down;
``make.py`` is the command. The files stand in ``kept/``.
"""
