"""Due diligence on a company: a reference kit for Kando."""
