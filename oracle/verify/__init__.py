"""
What anybody can check of a request with nothing but an endpoint.

It reads events and calldata, walks trees and derives values by itself: an error of the node's own
code must not repeat here. Import-linter keeps the two apart.
"""
