"""EventStoreDB and KurrentDB as a substrate for Kando."""
