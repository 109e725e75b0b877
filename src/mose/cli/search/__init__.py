"""``mose search``: its arguments, the trees that it asks, and hits as text, lines and JSON."""
