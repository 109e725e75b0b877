"""Clone detection: pairs of codes as one sequence, with a classifier at every exit."""
