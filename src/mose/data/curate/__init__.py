"""Stages between written pairs and a training set: near copies, contamination, data card."""
