"""Which chunks answer a query best: words, vectors, and what a reader of code would look at."""
