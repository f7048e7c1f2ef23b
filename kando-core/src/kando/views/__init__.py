"""Views: what is true of a run, each fact a fold over its ledger, written once."""
