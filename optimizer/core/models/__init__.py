"""What is asked of a language model, what of it may go out, what it may cost, and when a provider is left alone.

No model is called here. Start at ``language.py``.
"""
