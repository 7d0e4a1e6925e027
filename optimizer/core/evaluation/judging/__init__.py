"""A model that scores answers: its rubric as a prompt, how its reply is read, committees, and agreement with people.

Start at ``rubric.py``, then ``calibration.py``. ``optimizer/jobs/calls/ask_judge.py`` asks the model.
"""
