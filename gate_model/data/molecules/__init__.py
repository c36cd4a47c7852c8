"""Molecules: SMILES, features, graphs."""
