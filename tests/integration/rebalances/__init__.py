"""Members come, go, die and stand still on a real Kafka, in every way in which a group can share
its partitions.

Few codes with many updates each: so every partition always has rows in flight, and every hand-over
is one in the middle of a code's updates. One file each for what goes on, as files run beside each
other.
"""
