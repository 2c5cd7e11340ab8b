"""The book's schema: `tables` for sets of rows, `records` for single rows. Rules live elsewhere.

Instants are UTC seconds, amounts ucr, both int64. JSON columns hold canonical text.
`quotas.migrations` makes the same tables in a database.
"""
