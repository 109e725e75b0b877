"""The multi-exit encoder in torch: blocks, exits, heads, checkpoints, conversion. Needs ``mose[train]``."""
