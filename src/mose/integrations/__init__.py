"""This project inside other people's frameworks."""
