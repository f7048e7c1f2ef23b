"""The results of tools and resources: their shapes, and how they are cut into pages."""
