"""The same promises on PostgreSQL: a private server, ended with the tests."""
