"""Measures what pairside costs, as ratios to known yardsticks within one run.

`python -m bench` prints one table; docs/bench.md says how to read it. The clients are blocking sockets with prepared
frames, the same for everybody; the servers are processes of their own in throwaway homes.
"""
