"""Conformance tests: pairside's WebSocket transport against an independent judge of RFC 6455."""
