"""Language models: the embedded one and its processes, and every server that speaks OpenAI's protocol.

Start at ``language_models.py``.
"""
