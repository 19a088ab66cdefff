"""Screenshots of the live page, of a hub with invented users whose devices edit all the time."""
