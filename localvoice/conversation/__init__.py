"""One person talking: turns, history, what is said and heard. Knows no network, no device and no model."""
