"""locksmith: reboot a fleet in turn, under a counting semaphore kept in etcd, Consul or SQLite."""

__version__ = "0.2.0"
