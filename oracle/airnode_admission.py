"""
What the chain says about who is served: templates that requests name, and authorizations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.protocols.airnode_calls import (
    decode_authorization_statuses,
    decode_templates,
    encode_check_authorization_statuses,
    encode_get_templates,
)
from oracle.store import airnode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.airnode_request import AirnodeRequest, Template
    from oracle.airnode_service import AirnodeService
    from oracle.request import RequestKey, Tracked

    _Tracked = Tracked[AirnodeRequest]

# Templates or authorizations per call.
AT_ONCE = 20


def endpoint_of(request: AirnodeRequest, templates: Mapping[bytes, Template]) -> bytes:
    """
    Return the id of the endpoint that a request names, itself or by its template.
    """
    if request.endpoint_id is not None:
        return request.endpoint_id
    assert request.template_id is not None
    return templates[request.template_id].endpoint_id


async def templates_of(
    service: AirnodeService, requests: Sequence[AirnodeRequest]
) -> dict[bytes, Template]:
    """
    Return the templates that requests name, from the store or, once, from the chain.
    """
    ids = {one.template_id for one in requests if one.template_id is not None}
    if not ids:
        return {}
    async with service.database.read() as connection:
        known = await airnode.templates(connection, ids)
    missing = sorted(ids - set(known))
    for at in range(0, len(missing), AT_ONCE):
        asked = missing[at : at + AT_ONCE]
        answer = await service.reader.call(service.contract, encode_get_templates(asked))
        found = decode_templates(asked, answer)
        async with service.database.write() as tx:
            await airnode.add_templates(tx, list(found.values()))
        known |= found
    return known


async def authorized(
    service: AirnodeService,
    asking: Sequence[_Tracked],
    templates: Mapping[bytes, Template],
) -> set[RequestKey]:
    """
    Return the requests that one of the authorizers lets through; all, where there are none.
    """
    if not service.policy.authorizers:
        return {one.request.key for one in asking}
    allowed: set[RequestKey] = set()
    for at in range(0, len(asking), AT_ONCE):
        some = [one.request for one in asking[at : at + AT_ONCE]]
        call = encode_check_authorization_statuses(
            service.policy.authorizers,
            service.keys.address,
            [(request, endpoint_of(request, templates)) for request in some],
        )
        statuses = decode_authorization_statuses(
            len(some), await service.reader.call(service.contract, call)
        )
        allowed |= {one.key for one, yes in zip(some, statuses, strict=True) if yes}
    return allowed
