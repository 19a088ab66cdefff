"""One asyncio process that keeps every device of a user in step.

An edit comes in at `session`, waits at its `user` for its turn, is decided and stored together
with all that waits by `commit` and `store`, and goes out from `user` to every live session.
"""
