"""A fleet of real `locksmithd` processes on one machine, hurt and rebooted by the test process, and judged from outside.

Nothing in this package imports locksmith: the agents and `lockctl` are programs, and the judges read a file that the hosts
wrote and the store's own history. A test that finds the limit kept therefore does not ask the product whether it did.
"""
