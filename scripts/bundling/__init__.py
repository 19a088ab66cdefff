"""A support bundle, replayed on a developer's machine."""
