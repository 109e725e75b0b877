"""Questions about code, and translations of it, written by a language model: requests, answers, checks."""
