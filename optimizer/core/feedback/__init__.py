"""What production reports: an event's fields, its two parts as stored, corrections,
and which answers a person should look at.

Start at ``event_kinds.py`` (what may come), then ``events.py`` (what is kept).
"""
