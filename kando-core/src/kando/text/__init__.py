"""Untrusted text: documents, their passages, their relevance, and how to show them safely."""
