"""
Trying the callbacks of Airnode requests without their numbers, before anything is signed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from oracle.errors import EndpointError, RevertedError
from oracle.protocols.airnode_calls import encode_callback, encode_words

if TYPE_CHECKING:
    from oracle.airnode_request import AirnodeRequest
    from oracle.airnode_service import AirnodeService
    from oracle.store.airnode import Answer

# Decoys that a callback is tried with: what it needs may depend on the number.
DECOYS = 2


async def callback_gas(
    service: AirnodeService, request: AirnodeRequest, answer: Answer, most: int
) -> int | str:
    """
    Return what the callback needs, called by the contract with decoys; or why nobody knows, or
    that it is more than a fulfillment can give.
    """
    assert answer.num_words is not None
    needed: list[int] = []
    why = "callback_fails"
    for _ in range(DECOYS):
        decoy = [secrets.randbits(256) for _ in range(answer.num_words)]
        data = encode_words(decoy, array=bool(answer.array))
        try:
            needed.append(
                await service.estimator.estimate_gas(
                    sender=service.contract,
                    to=request.fulfill_address,
                    data=encode_callback(request, data),
                )
            )
        except RevertedError:
            continue
        except EndpointError:
            why = "callback_untried"
    if not needed:
        return why
    gas = max(needed)
    # A 64th stays with the contract that calls.
    return gas if gas + gas // 63 <= most else "callback_too_hungry"
