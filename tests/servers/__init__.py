"""Real etcd and Consul processes on loopback, certificates for them, and a TCP proxy that loses answers.

Plain Python, no pytest: the same classes serve the tests, the chaos runs and the benchmarks.
"""
