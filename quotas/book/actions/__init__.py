"""Operator actions and answers from people: each is checked and written once."""
