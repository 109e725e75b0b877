"""Pre-training: masked tokens and in-context classification at every exit."""
