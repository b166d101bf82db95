"""Measures what pairside costs, as ratios to a known yardstick within one run.

`python -m bench` prints one table. Absolute times say more about the machine than about pairside, so each time stands
beside that of something everybody knows, measured in the same minute: rounds alternate, their order is shuffled, a
ratio is taken in each round, and the median and the quartiles of the ratios are told. The clients are blocking
sockets with prepared frames, the same for both sides; the servers are processes of their own in throwaway homes.
"""
