"""
Trying the callbacks of Airnode requests without their numbers, before anything is signed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from oracle.errors import EndpointError, RevertedError
from oracle.protocols.airnode_calls import encode_callback, encode_words
from oracle.together import together

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
    words = answer.num_words

    async def try_one() -> int | str:
        decoy = [secrets.randbits(256) for _ in range(words)]
        data = encode_words(decoy, array=bool(answer.array))
        try:
            return await service.estimator.estimate_gas(
                sender=service.contract,
                to=request.fulfill_address,
                data=encode_callback(request, data),
            )
        except RevertedError:
            return "callback_fails"
        except EndpointError:
            return "callback_untried"

    tried = await together([try_one] * DECOYS, DECOYS)
    needed = [one for one in tried if isinstance(one, int)]
    if not needed:
        return "callback_untried" if "callback_untried" in tried else "callback_fails"
    gas = max(needed)
    # A 64th stays with the contract that calls.
    return gas if gas + gas // 63 <= most else "callback_too_hungry"
