"""From source trees and pair files to batches. Needs ``mose[train]``."""
