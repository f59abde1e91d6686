"""Keys, signatures, addresses and hash trees."""
