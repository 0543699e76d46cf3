"""
The tests, and what they share: a package, because a dependency of Ape's ships one of this name.
"""
