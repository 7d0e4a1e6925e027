"""What production reports: an event's fields, its two parts as stored, corrections, and answers that people should see.

Start at ``event_kinds.py`` (what may come), then ``events.py`` (what is stored).
"""
