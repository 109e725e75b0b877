"""The doors to the same search: MCP for agents, HTTP for programs, a page for people."""
