"""Long questions, such as bug reports: taken apart, and read for the ranking."""
