"""What lives here: the files that ``detent init DIR`` writes. What does not: code. Start reading at ``README.md``."""
