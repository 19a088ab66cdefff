"""TLS by file: the certificate that the hub shows, and the door behind which ports speak TLS."""
