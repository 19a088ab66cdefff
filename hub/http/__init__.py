"""The second listener: mobync's polling clients, and whoever asks how the hub is."""
