"""End-to-end tests: the real agent CLI, the real pairside process, a model endpoint that plays scripts."""
