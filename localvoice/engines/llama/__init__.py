"""The language model through llama.cpp."""
