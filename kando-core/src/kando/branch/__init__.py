"""Branches: forks of a ledger, and what became different on them."""
