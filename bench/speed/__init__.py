"""Speed of the two paths that stand in every request.

``installation`` runs the api on a home with a rollout under way, ``rivals`` the servers it is held against, ``client``
asks them over HTTP, ``events`` says what is sent, ``servers`` waits until one is up, ``page`` shows what came of it.
"""
