"""The previous release and this one on one store: mixed fleets, upgrades and downgrades, over reboots and without one.

The previous release is a wheel beside this file, so that nothing here needs the history of the repository.
"""
