"""Metrics of rankings and decisions, and tests of significance. numpy only."""
