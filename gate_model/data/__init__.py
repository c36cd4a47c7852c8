"""From tables of properties to packed batches: declarations, user files, splits, scaling, features."""
