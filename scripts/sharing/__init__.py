"""One user at full speed beside a hundred quiet ones, and what those feel of it."""
