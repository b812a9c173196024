"""Who waits for whom: a lock table in which every row queues for all of its keys at once."""
