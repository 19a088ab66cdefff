"""Where edits are kept: the log (what happened) and the objects (what is), behind one interface."""
