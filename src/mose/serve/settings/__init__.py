"""Telling agents and editors of the server, in their own settings."""
