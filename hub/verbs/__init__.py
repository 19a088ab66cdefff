"""What the verbs of `mobync-hub` do that look at a hub's file or repair it.

What only reads looks at the file beside the hub. What writes asks for the file's lock: whoever gets
it opens the store; whoever does not tells the hub that has it, by its control socket.
"""
