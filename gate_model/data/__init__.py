"""The data of a training: property tables, user files, splits, features, scaling and batches."""
