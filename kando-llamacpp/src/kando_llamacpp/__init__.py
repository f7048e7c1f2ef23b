"""Models in GGUF files as a provider for Kando, through llama.cpp in the same process."""
