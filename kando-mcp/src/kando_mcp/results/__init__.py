"""The results of tools and resources: their shapes, pages and error messages."""
