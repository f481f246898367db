"""A person's way through the whole product."""
