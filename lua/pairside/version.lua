-- Owns the version of this plugin; it is that of the Python package beside it.
return "0.1.0"
