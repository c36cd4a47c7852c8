"""The property table that is built from the data of the `chemicals` library."""
