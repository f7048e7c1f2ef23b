"""What authors of kits and plugins test with. Imported explicitly, never loaded by itself."""
