"""Parts of bench/cascades.py: recorded cascades of others, the rules that are compared on them, and the page."""
