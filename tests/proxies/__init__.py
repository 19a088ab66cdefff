"""The hub behind Caddy and nginx, each with the configuration that docs/examples shows."""
