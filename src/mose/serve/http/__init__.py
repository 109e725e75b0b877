"""``mose serve``: who may ask, what is answered, and the queue of texts."""
