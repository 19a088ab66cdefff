"""Real devices and a real hub over lines that break, against the model of section 4."""
