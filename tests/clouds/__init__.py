"""Tests of the cloud adapter: recorded answers, hostile ones, and a real socket."""
