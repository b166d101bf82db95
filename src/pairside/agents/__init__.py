"""One package for each agent protocol: how an agent finds us, and how it talks to us."""
