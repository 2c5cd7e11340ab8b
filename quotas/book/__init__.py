"""The one book: every row that cohortd keeps, by aggregate. Only `session` opens a transaction."""

from quotas.book.session import Address, Book, BookError, BookUnreachable

__all__ = ["Address", "Book", "BookError", "BookUnreachable"]
