"""Losses, gradient cache, loop and fine-tuning of the multi-exit encoder. Needs ``mose[train]``."""
