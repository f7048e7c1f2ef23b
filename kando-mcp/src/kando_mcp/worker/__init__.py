"""The processes that work on runs: how one is started, and what it does."""
