"""Export a checkpoint to a folder that runs without torch. Needs ``mose[train]``."""
