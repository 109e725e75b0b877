"""How good is search on one's own source tree: queries with known answers from the tree itself, and their scores."""
