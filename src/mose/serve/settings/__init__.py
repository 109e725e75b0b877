"""Registering the server in the settings of agents and editors."""
