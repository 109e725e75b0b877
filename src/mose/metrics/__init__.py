"""Metrics of rankings and decisions, and whether a difference is more than chance. numpy only."""
