"""The application's own code: its hooks, how they are called, and what goes wrong in them."""
