"""A model of what a server must say and do, run against a real one over real sockets in random order."""
