"""Clone detection: a classifier for pairs of codes at every exit."""
