"""What is understood without a language model."""
