"""The world: the objects and relations that a ledger's events project to."""
