"""The world: what a ledger says is there."""
