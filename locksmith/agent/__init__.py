"""The node agent: one loop thread decides (core.machine), one worker acts, feeders bring events."""
