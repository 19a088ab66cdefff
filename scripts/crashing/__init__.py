"""A hub and its devices made to fail, by one command each."""
