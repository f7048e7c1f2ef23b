"""Foreign text: documents, their passages, what is relevant in them, and how to show it as text."""
