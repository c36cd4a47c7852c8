"""Reading the files of users."""
