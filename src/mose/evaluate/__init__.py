"""Evaluation of every exit: tasks, peers, scores, costs, reports."""
