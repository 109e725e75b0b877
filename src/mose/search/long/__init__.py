"""Long questions, such as bug reports: split into parts, and read for the ranking."""
