"""Whole fleets under a virtual clock: the real step, hands and semaphore over a memory store, with faults at every step."""
