"""The command line as people and scripts use it: real processes, a real server, a scripted agent."""
