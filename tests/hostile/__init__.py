"""Peers that mean no good, over real sockets, and what the others feel of them."""
