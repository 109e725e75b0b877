"""Questions about code, and translations of it, written by a language model: asked for, read back, checked."""
