"""The protocol of docs/protocol.md over a Store.

claiming (enqueue, claim, cancel), holding (drain, arm, verify, fail, release), recovery (START, setting up) are the
agent's; operating, by_hand, repair and reading are the operator's.
"""
