"""The page for people: its files, and code in pieces that it can colour."""
