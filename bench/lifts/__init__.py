"""What studies of the shipped families find on public data. ``plan.py`` says what is measured; start there."""
