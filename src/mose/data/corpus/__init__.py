"""Repositories to pre-train on: read into memory (``folders``), or built once as shards that are mapped (``build``)."""
