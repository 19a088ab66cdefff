"""`mobync-hub doctor`: what may keep a hub from serving well, each with what to do about it.

Nothing is changed, made or left behind, beside a hub that serves or on the file of a stopped one.
"""
