"""Which offsets may be committed: settled records, the settled map, and the ledger."""
