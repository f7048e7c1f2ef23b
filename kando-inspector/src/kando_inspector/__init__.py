"""Serve the runs of Kando over HTTP, and show them in a browser."""
