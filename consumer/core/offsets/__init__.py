"""What may be committed: settled records of a partition, the settled map, and the ledger."""
