"""What people write, and how it is refused: one-line errors, words to values, the one table of arguments."""
