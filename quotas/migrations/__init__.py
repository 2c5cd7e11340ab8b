"""How the book's schema came to be, one version after the other (alembic)."""
