"""Chaos on real clusters: real agents keep rebooting while everything around them fails, and the store's history judges.

`python -m tests.chaos.run` needs root: the whole run lives in namespaces of its own (see `tests.chaos.net`), so that it touches
nothing of the machine's and leaves nothing behind, however it ends.
"""
