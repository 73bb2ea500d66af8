"""Log artifacts and use them."""
