"""Training with scikit-learn, whose result leaves as data (``core/predictor``). Start at ``training.py``."""
