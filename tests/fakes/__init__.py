"""Stand-ins that satisfy the Protocols of what they stand for."""
