"""The same tests on PostgreSQL: a private server, ended with the tests."""
