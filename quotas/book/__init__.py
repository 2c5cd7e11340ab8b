"""The one book: every row that cohortd keeps, by aggregate. Only `session` opens a transaction."""

from quotas.book.session import Book, BookError

__all__ = ["Book", "BookError"]
