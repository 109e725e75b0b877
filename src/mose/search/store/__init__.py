"""An index on disk: its tables, its vectors, who may write it and where it lies."""
