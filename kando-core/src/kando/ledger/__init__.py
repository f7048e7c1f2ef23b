"""Ledgers, and the substrates that store them."""
