"""The simulated fleet: simulated hosts around the real agent and the real semaphore, watched in a terminal.

What is simulated is the machine (its boots, its updates, its health) and nothing else. The hosts count for themselves how
many of them are out of service, and that count, not the lock's, decides whether the demo succeeds.
"""
