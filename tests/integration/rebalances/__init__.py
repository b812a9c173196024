"""Rebalances on a real Kafka: members come, go, die and stand still, in every way of a group.

There are few codes with many updates each. So every partition always has rows in flight, and every
hand-over is one in the middle of a code's updates. There is one file for each of what goes on, as
files run beside each other.
"""
