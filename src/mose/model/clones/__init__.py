"""Pairs of codes read as one sequence, and what a classifier at every exit says of them."""
