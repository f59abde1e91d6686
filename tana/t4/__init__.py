"""t4: content by its SHA-256 hash. A store of files, and its HTTP surface on port 8180."""
