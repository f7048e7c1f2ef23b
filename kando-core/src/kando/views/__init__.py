"""Views: facts about a run, each a fold over its ledger that is written once."""
