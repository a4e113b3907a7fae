"""Nodes that really reboot: systemd-nspawn containers with the agent installed in them, under real systemd and logind.

Nothing in here imports locksmith: the agent and `lockctl` are programs in the containers. The judges are the host's own
watch over the containers' processes (`watch`) and the store's history (tests.integration.fleet.judges).

What a container is and is not: it has its own init, logind, system bus, boot id and /run, and `reboot` is its init's;
what it shares with its host is the kernel and its page cache, so a power cut here loses every process and /run, but
nothing that was written to a file without fsync. Network and clock are the host's.
"""
