"""The property table of the `chemicals` library."""
