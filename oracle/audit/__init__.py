"""
The operator's audit: chain, store and pool held against each other.
"""
