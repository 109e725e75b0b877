"""Offline search of one source tree: chunks, index, cascade over exits, ranking."""
