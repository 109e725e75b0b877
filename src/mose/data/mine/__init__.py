"""Pairs mined from the source of named packages.

``manifest`` (what to take) -> ``fetch`` (unpacked folders) -> ``package`` (its files) -> ``extract`` (pairs of a file)
-> ``select`` (duplicates, caps, near copies) -> ``build`` (files). Every row that is left out is counted by its reason.
"""
