"""What each exit is worth: metrics, tasks, peers, reports."""
