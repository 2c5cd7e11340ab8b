"""The model of a region: servers, prices, quotas, workloads, faults, and the ground truth.

Pure: the time is passed in, randomness is seeded, and only the table of offers is read.
"""
