"""A model that scores answers: its rubric as a prompt, how its answer is read, what a committee makes of several,
and whether its scores agree with people's ratings.

Start at ``rubric.py``, then ``calibration.py``. Who asks the model is ``optimizer/jobs/calls/ask_judge.py``.
"""
