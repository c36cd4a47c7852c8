"""The leaderboard: learned λ and its alternatives on the same data, splits and seeds."""
