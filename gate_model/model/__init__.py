"""The network of GATE: embeddings, task networks and losses."""
