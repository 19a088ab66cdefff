"""Bugs planted in the product, each with what it would do to a user: the simulation must tell.

Numbers of stories are those of the protocol's own list of what broke earlier drafts.
"""
