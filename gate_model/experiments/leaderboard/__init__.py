"""The leaderboard: learned λ and what a user could do instead, on the same data, splits and seeds."""
